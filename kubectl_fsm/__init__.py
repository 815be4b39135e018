"""kubectl fsm: which traffic bypasses the sidecar of FSM, osm-edge or OSM."""

__version__ = "0.1.0"
