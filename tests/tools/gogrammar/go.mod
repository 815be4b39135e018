module kubectl-fsm.test/tools/gogrammar

go 1.26.0
