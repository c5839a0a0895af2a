"""Glance's API behind the virtual IP: 503 instead of 204 for image data that is not here.

Glance answers 204 when the data of an image is not in the store of the node that was asked. Another
node has it, and haproxy asks that one after a 503. (An image that has no data yet says 503, too.)
"""

from glance.wsgi.api import application as glance_api


def application(environ, start_response):
    def start(status, headers, *rest):
        if status.startswith("204") and environ["PATH_INFO"].endswith("/file"):
            if environ["REQUEST_METHOD"] == "GET":
                status = "503 Service Unavailable"
        return start_response(status, headers, *rest)

    return glance_api(environ, start)
