"""Admission: who may do what. Users, nodes, their keys, and how much each may ask for."""
