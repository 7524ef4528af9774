"""The cases, one module by functionality row. Each is an async function of a running Case; csms.certify.registry
lists them with their ids and titles. Source: the public descriptions of the OCA's cases for an OCPP 1.6-J CSMS."""
