"""The certification run: the cases of the OCA's compliance test for an OCPP 1.6-J central system, from outside.

Context: whoever operates or buys a central system wants to know what a test laboratory would say of this installation,
today, with its own settings, balancer and database. Choice: the run is a stranger to the server. It plays the charge
point over a real websocket and the operator over REST, imports nothing of the product but the OCPP-J library, checks
every frame against the schemas and against what the case demands, and keeps the frames as evidence. Consequence: it
runs against any deployment that answers OCPP-J and this REST API, and a green row means what it says.

    transcript    what was said in one case, as evidence; secrets masked
    failure       CaseFailed: one sentence
    wire          one frame of the CSMS, judged by OCPP-J and the schemas
    charge_point  the charge point's side of the websocket
    rest          REST over the standard library
    operator      the operator's side: commands, and what REST shows
    testbed       the charge point and id tags that the run registers, and their removal
    authority     keys, certificates and requests of the tool's own
    trust         the authorities that the tenant has for the run
    case          one running case: expectations and the reusable flows
    cases/        the cases, one module by functionality row; registry lists them all
    runner        one case after the other
    results       what came of it; reports/ writes it

It writes to the tenant it is pointed at: charge points and id tags named `certify-...` and `CT...`, their transactions,
and certificate authorities named `certify-...`. See docs/certification.md.
"""
