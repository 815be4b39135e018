module kubectl-fsm.test/tools/fsm-injector

go 1.26.0

tool kubectl-fsm.test/tools/fsm-injector
