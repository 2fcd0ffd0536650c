"""An HTTP server that fails on purpose: it cuts connections, forgets ranges, exchanges files, stalls."""

import dataclasses
import http.server
import re
import threading
import time


@dataclasses.dataclass
class Served:
    """One path.  What is set here holds from the next request on."""

    data: bytes
    etag: str = '"1"'
    modified: str = ""  # the Last-Modified header
    ranges: bool = True
    cuts: list = dataclasses.field(default_factory=list)  # bytes after which each further answer breaks off
    length: bool = True  # say how long it is
    status: list = dataclasses.field(default_factory=list)  # answers before the file is served; 200: serve it
    content_range: str = "bytes {begin}-{end}/{total}"  # of a part; empty: the header is left out
    rate: int = 0  # bytes a second; 0: as fast as it goes
    stall_after: int = None  # bytes; then nothing more comes until `go_on` is set
    go_on: threading.Event = dataclasses.field(default_factory=threading.Event)


@dataclasses.dataclass
class Request:
    path: str
    range: str
    if_range: str
    query: str = ""
    status: int = 0
    sent: int = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path, _, query = self.path.partition("?")
        request = Request(path, self.headers.get("Range", ""), self.headers.get("If-Range", ""), query)
        self.server.requests.append(request)
        self.close_connection = True
        try:
            self._answer(request, self.server.paths.get(path))
        except OSError:
            pass  # the client has hung up

    def _head(self, request, status, **headers):
        request.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()

    def _answer(self, request, served):
        if served is None:
            return self._head(request, 404, Content_Length="0")
        status = served.status.pop(0) if served.status else 200
        if status != 200:
            return self._head(request, status, Content_Length="0")
        data, total = served.data, len(served.data)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.range) if served.ranges else None
        if match and request.if_range and request.if_range not in (served.etag, served.modified):
            match = None
        headers = {name: value for name, value in (("ETag", served.etag), ("Last-Modified", served.modified)) if value}
        if match and int(match[1]) >= total:
            return self._head(request, 416, Content_Range=f"bytes */{total}", Content_Length="0", **headers)
        if match:
            begin = int(match[1])
            data = data[begin:int(match[2]) + 1 if match[2] else None]
            if served.content_range:
                headers["Content-Range"] = served.content_range.format(begin=begin, end=begin + len(data) - 1, total=total)
        if served.length:
            headers["Content-Length"] = str(len(data))
        cut = served.cuts.pop(0) if served.cuts else None
        self._head(request, 206 if match else 200, **headers)
        self._send(request, served, data if cut is None else data[:cut])

    def _send(self, request, served, data):
        step = max(served.rate // 50, 1) if served.rate else 16384
        for begin in range(0, len(data), step):
            if served.stall_after is not None and request.sent >= served.stall_after:
                served.go_on.wait(60)
            chunk = data[begin:begin + step]
            self.wfile.write(chunk)
            request.sent += len(chunk)
            if served.rate:
                time.sleep(step / served.rate)


class WebServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths = {}
        self.requests = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="webserver", daemon=True)
        self._thread.start()

    def handle_error(self, request, client_address):
        pass  # clients are killed in the middle of everything

    def serve(self, name, data, **behaviour):
        served = Served(data, **behaviour)
        self.paths[f"/{name}"] = served
        return served

    def url(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def asked(self, name):
        return [request for request in self.requests if request.path == f"/{name}"]

    def close(self):
        for served in self.paths.values():
            served.go_on.set()
        self.shutdown()
        self.server_close()
