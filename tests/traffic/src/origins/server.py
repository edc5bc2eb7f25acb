"""Python's own parser, http.server, with a body reader as handlers have it: Content-Length or chunks.

Arguments: address, port, log file.
"""
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

address, port, log = sys.argv[1:4]
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return
        self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def serve(self):
        with lock, open(log, "a", encoding="utf-8") as seen:
            seen.write(f"{self.command} {self.path}\n")
        try:
            self.read_body()
        except ValueError:
            self.close_connection = True
        body = b"seen\n"
        self.send_response(200)
        self.send_header("X-Path", self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_TRACE = serve


class Server(ThreadingHTTPServer):
    daemon_threads = True


Server((address, int(port)), Handler).serve_forever()
