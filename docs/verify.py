#!/usr/bin/env python3
"""Checks who holds the key of a public name, as verify.md says, with python and openssl alone.

usage: verify.py NAME[:PORT] [LABEL] [HOST:PORT to dial]   SSL_CERT_FILE names other roots
       verify.py FILE                                      the signature of a document alone
Exit codes: 0 the device holds the key, 1 that could not be checked, 4 the key is another one's."""
import base64, datetime, hashlib, http.client, json, os, socket, ssl, subprocess, sys, tempfile

FIELDS = ("name", "word", "identity", "certificate_key", "account", "time")

def openssl(*args, data=b""):
    return subprocess.run(("openssl",) + args, input=data, capture_output=True, check=True).stdout

def label(identity, word):
    digest = hashlib.sha256(b"keystay-name-v1\0" + base64.b64decode(identity) + word.encode()).digest()
    return base64.b32encode(digest[:20]).decode().lower()

def is_signed(doc):
    text = b"keystay-statement-v1\0" + b"".join(doc[f].encode() + b"\0" for f in FIELDS)
    key = bytes.fromhex("302a300506032b6570032100") + base64.b64decode(doc["identity"])  # RFC 8410
    with tempfile.TemporaryDirectory() as d:
        for name, data in (("key", key), ("text", text), ("sig", base64.b64decode(doc["signature"]))):
            open(os.path.join(d, name), "wb").write(data)
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", d + "/key", "-rawin",
                               "-in", d + "/text", "-sigfile", d + "/sig"], capture_output=True).returncode == 0

def ask(name, port, address):
    raw = socket.create_connection(address or (name, port), timeout=30)
    tls = ssl.create_default_context().wrap_socket(raw, server_hostname=name)  # checks chain and name
    conn = http.client.HTTPConnection(name, port)
    conn.sock = tls
    conn.request("GET", "/.well-known/keystay")
    answer = conn.getresponse()
    assert answer.status == 200, "no document: %d" % answer.status
    pem = openssl("x509", "-inform", "DER", "-pubkey", "-noout", data=tls.getpeercert(True))
    return json.loads(answer.read(4097)), hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", data=pem)).hexdigest()

def check(name, port=443, identity=None, address=None):
    doc, key = ask(name, port, address)
    assert doc["keystay"] == 1, "another version"
    own = (label(doc["identity"], ""), label(doc["identity"], doc["word"]))
    made = [part for part in name.split(".") if len(part) == 32 and not part.strip("abcdefghijklmnopqrstuvwxyz234567")]
    if not is_signed(doc) or doc["name"] != name or doc["certificate_key"] != key or made and made[0] not in own or identity and identity != own[0]:
        return 4, "%s: the key is not that device's" % name
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(doc["time"].replace("Z", "+00:00"))
    assert abs(age.total_seconds()) <= 600, "the document is of another time"
    assert made or identity, "signed by %s, and nothing says whether that is the right device" % own[0]
    return 0, "%s: the device %s holds the key %s" % (name, own[0], key)

if __name__ == "__main__":
    if len(sys.argv) == 2 and os.path.exists(sys.argv[1]):
        sys.exit(0 if is_signed(json.load(open(sys.argv[1]))) else 4)
    name, _, port = sys.argv[1].partition(":")
    rest = sys.argv[2:]
    address = next(((a.rpartition(":")[0], int(a.rpartition(":")[2])) for a in rest if ":" in a), None)
    try:
        code, text = check(name, int(port or 443), next((a for a in rest if ":" not in a), None), address)
    except Exception as e:
        code, text = 1, "%s: not checked: %s" % (name, e)
    print(text)
    sys.exit(code)
