"""The security extension of OCPP 1.6: one module a subject. Source: Improved security for OCPP 1.6-J, edition 3."""
