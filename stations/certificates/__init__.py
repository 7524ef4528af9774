"""X.509 for charge points: reading, checking, signing, and what operators do with certificates.

pem.py, facts.py, signing.py and hash_data.py are about certificates alone, without rows; the others are about rows.
Nothing here but the verbs of operators (authorities.py, issuing.py, roots.py) knows of commands.
Source: Improved security for OCPP 1.6-J, edition 3.
"""
