"""Keep this node's file store of images level with those of the other control nodes.

Glance's metadata is in the database, which all nodes share, but an image's data lies only in the
store of the node that took the upload, as STORE/IMAGE_ID (glance_store's filesystem driver; the
location in the database is the same path on every node). So each node copies what it lacks from
the glance of its peers, and removes what glance no longer knows: a DELETE removes the file of the
node that answers and no other.

The file `ok` is written after each complete round: how many images are still missing.
"""

import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import sys
import time
import urllib.parse

CONNECT, ANSWER = 3, 10  # Seconds until a connection, or the next bytes of an answer, are given up.
IDLE, MISSING, BACKOFF = 2, 1, 5  # Seconds between rounds; the last is the most after failures.
KEEP = 600  # Seconds that a file which glance does not know is kept.
CHUNK = 256 * 1024
PART = ".replicate"  # Ends the name of a file that is being copied.
IMAGE = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Failed(Exception):
    """What was asked, of whom, and what came back."""


def log(message):
    print(message, flush=True)


@contextlib.contextmanager
def request(method, url, body=None, **headers):
    """The answer, whatever its status; Failed also for what goes wrong while it is read."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=CONNECT)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        connection.sock.settimeout(ANSWER)
        connection.request(method, target, body, headers)
        yield connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{method} {url}: {error!r}") from error
    finally:
        connection.close()


def decoded(answer, url):
    try:
        return json.loads(answer.read())
    except ValueError as error:
        raise Failed(f"{url} answered {answer.status} with what is no JSON: {error}") from error


class Replicator:
    """One node's store, its own glance, and those of its peers."""

    def __init__(self, config):
        self.auth = config["auth"]
        self.own = config["own"]
        self.peers = list(config["peers"].items())
        self.store = config["store"]
        self.ok = config["ok"]
        self.token = ""

    def run(self):
        """Rounds for ever."""
        self.start()
        delay = MISSING
        while True:
            try:
                missing, failed = self.round()
            except (Failed, OSError) as error:
                log(f"round not completed: {error}")
                missing = failed = 1
            if failed:
                delay = min(BACKOFF, delay * 2)
            elif missing:
                delay = MISSING
            else:
                delay = IDLE
            time.sleep(delay)

    def start(self):
        """Remove what an earlier life left behind."""
        os.makedirs(self.store, exist_ok=True)
        for name in os.listdir(self.store):
            if name.endswith(PART):
                os.remove(os.path.join(self.store, name))
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.ok)

    def round(self):
        """How many images were missing at first, and how many are now.

        An image that no peer can give does not make the round incomplete: a node that lost its
        store takes with it what only it had.
        """
        images = self.images()
        missing = [image for image in images.values() if self.lacks(image)]
        failed = sum(not self.fetch(image) for image in missing)
        self.remove_unknown(images)
        with open(self.ok, "w") as ok:
            ok.write(f"{failed}\n")
        return len(missing), failed

    def images(self):
        """All images that glance knows, by id; Failed if the listing is not complete."""
        found = {}
        for hidden in ("false", "true"):  # One listing holds either these or those.
            page = f"/v2/images?limit=1000&os_hidden={hidden}"
            while page:
                with self.glance(self.own + page) as answer:
                    if answer.status != 200:
                        raise Failed(f"GET {self.own}{page} answered {answer.status}")
                    listing = decoded(answer, self.own + page)
                found.update({image["id"]: image for image in listing["images"]})
                page = listing.get("next")
        return found

    def lacks(self, image):
        """Whether the store needs data that it has not got, or not all of.

        Glance makes an image active only once it has closed the file, so a file of another size
        is what an upload that was cut off left on this node before it succeeded on another.
        """
        if image["status"] != "active" or not image["os_hash_value"]:
            return False
        try:
            return os.path.getsize(self.path(image)) != image["size"]
        except FileNotFoundError:
            return True

    def fetch(self, image):
        """Whether a peer gave the image's data."""
        for peer in list(self.peers):
            try:
                self.copy(image, peer[1])
            except Failed as error:
                log(f"image {image['id']} not copied from {peer[0]}: {error}")
                self.peers.remove(peer)  # The others first next time: this one may be off.
                self.peers.append(peer)
            else:
                log(f"image {image['id']} copied from {peer[0]}: {image['size']} bytes")
                return True
        return False

    def copy(self, image, peer):
        url = f"{peer}/v2/images/{image['id']}/file"
        part = self.path(image) + PART
        size, digest = 0, hashlib.new(image["os_hash_algo"])
        try:
            with self.glance(url) as answer:
                if answer.status != 200:  # Glance answers 204 when its own file is missing.
                    raise Failed(f"GET {url} answered {answer.status}")
                with open(part, "wb") as out:
                    while chunk := answer.read(CHUNK):
                        out.write(chunk)
                        digest.update(chunk)
                        size += len(chunk)
                    out.flush()
                    os.fsync(out.fileno())
            if (size, digest.hexdigest()) != (image["size"], image["os_hash_value"]):
                raise Failed(f"GET {url} gave {size} bytes that are not the image's: discarded")
            os.replace(part, self.path(image))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(part)

    def remove_unknown(self, images):
        for entry in os.scandir(self.store):
            if entry.name in images or not IMAGE.fullmatch(entry.name):
                continue
            with contextlib.suppress(FileNotFoundError):  # Glance may be removing it as well.
                if time.time() - entry.stat().st_mtime < KEEP:
                    continue
                # Ask again: an image that changed between the listings may be in neither.
                with self.glance(f"{self.own}/v2/images/{entry.name}") as answer:
                    gone = answer.status == 404
                if gone:
                    os.remove(entry.path)
                    log(f"image {entry.name} removed: glance does not know it")

    def path(self, image):
        return os.path.join(self.store, image["id"])

    @contextlib.contextmanager
    def glance(self, url):
        """A glance's answer; a token that is refused is renewed once."""
        fresh = not self.token
        if fresh:
            self.token = self.new_token()
        with request("GET", url, **{"X-Auth-Token": self.token}) as answer:
            if answer.status != 401 or fresh:
                yield answer
                return
        self.token = self.new_token()
        with request("GET", url, **{"X-Auth-Token": self.token}) as answer:
            yield answer

    def new_token(self):
        auth = self.auth
        user = {
            "name": auth["username"],
            "password": auth["password"],
            "domain": {"id": auth["user_domain_id"]},
        }
        project = {"name": auth["project_name"], "domain": {"id": auth["project_domain_id"]}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = json.dumps({"auth": {"identity": identity, "scope": {"project": project}}})
        url = f"{auth['auth_url']}/auth/tokens"
        with request("POST", url, body, **{"Content-Type": "application/json"}) as answer:
            if answer.status != 201:
                raise Failed(f"POST {url} answered {answer.status}")
            return answer.headers["X-Subject-Token"]


def main():
    # The first process of a container has no default action for SIGTERM. An exception also ends
    # whatever it waits for, and removes the file that is being copied.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open(sys.argv[1]) as source:
        Replicator(json.load(source)).run()


if __name__ == "__main__":
    main()
