#!/usr/bin/env python3
"""A model server that behaves as badly as it is told to, for both dialects. Standard library only; loopback only.

    server.py [--key KEY] [--log FILE] [--tls CERTIFICATE]      prints its port, serves until standard input ends

The model's name chooses the behaviour: `drop` does it to the first request of each question and answers the second,
`drop!` does it every time. A question is told from others by its last message. With --key every request must carry
that key; the refusal quotes the key that came, as some servers do. FILE gets one JSON line per request.
CERTIFICATE is a PEM file with its key in it. Asked as a proxy, it answers in the place of the server that was meant.
"""
import argparse
import email.utils
import json
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = "A mixed stack is worth a try.\n\n```yaml\nlayers: {layers}\n```\n"
seen, seen_lock = {}, threading.Lock()
arguments = None


def answer_text(body):
    """The same question gets the same answer; different ones mostly different ones."""
    text = json.dumps(body.get("messages"))
    n = sum(ord(c) * (i + 1) for i, c in enumerate(text)) if text else 0
    return ANSWER.replace("{layers}", " ".join("M" if n >> i & 1 else "mA" for i in range(3)))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    # ---- writing ----

    def head(self, status, kind, length=None, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data):
        if isinstance(data, str):
            data = data.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def whole(self, status, value, kind="application/json", headers=()):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.head(status, kind, len(data), headers)
        self.wfile.write(data)

    def error(self, status, kind, message, headers=(), **more):
        if self.openai:
            value = {"error": {"message": message, "type": kind, "param": more.get("param"), "code": more.get("code")}}
        else:
            value = {"type": "error", "error": {"type": kind, "message": message}}
        self.whole(status, value, headers=headers)

    def event(self, value, name=None):
        data = value if isinstance(value, str) else json.dumps(value)
        self.chunk((f"event: {name}\n" if name and not self.openai else "") + f"data: {data}\n\n")

    # ---- the two streams, in parts ----

    def begin(self, kind="text/event-stream"):
        self.head(200, kind)
        if self.openai:
            self.event({"id": "1", "model": "served-" + self.model, "choices": [{"index": 0, "delta": {"role": "assistant"}}]})
        else:
            usage = {"input_tokens": 20, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 20, "output_tokens": 1}
            self.event({"type": "message_start", "message": {"model": "served-" + self.model, "usage": usage}}, "message_start")
            self.event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                       "content_block_start")
            self.event({"type": "ping"}, "ping")

    def say(self, text):
        if self.openai:
            self.event({"choices": [{"index": 0, "delta": {"content": text}}]})
        else:
            self.event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
                       "content_block_delta")

    def end(self):
        if self.openai:
            self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            self.event({"choices": [], "usage": {
                "prompt_tokens": 100, "completion_tokens": 40, "prompt_tokens_details": {"cached_tokens": 60},
                "completion_tokens_details": {"reasoning_tokens": 8}}})
            self.event("[DONE]")
        else:
            self.event({"type": "content_block_stop", "index": 0}, "content_block_stop")
            self.event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}},
                       "message_delta")
            self.event({"type": "message_stop"}, "message_stop")
        self.chunk("")

    def stream(self, pause=0.0, kind="text/event-stream"):
        self.begin(kind)
        text = answer_text(self.body)
        for i in range(0, len(text), 8):
            self.say(text[i:i + 8])
            if pause:
                time.sleep(pause)
        self.end()

    def cut(self):
        """The connection ends in the middle of everything."""
        self.close_connection = True
        time.sleep(0.2)  # what was written arrives before the reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()

    # ---- behaviours ----

    def misbehave(self, case):
        if case == "stall":
            self.begin()
            self.say("I think")
            time.sleep(3600 if self.forever else 5)
            self.close_connection = True
        elif case == "silent":
            time.sleep(5)
            self.close_connection = True
        elif case == "drop":
            self.begin()
            self.say("I think that")
            self.cut()
        elif case == "refuse":
            self.cut()
        elif case == "cut":  # a proper end of the transfer, but not of the answer
            self.begin()
            self.say("I think that")
            self.chunk("")
        elif case == "429s":
            self.error(429, "rate_limit_error", "slow down", [("Retry-After", "1")])
        elif case == "429d":
            self.error(429, "rate_limit_error", "slow down",
                       [("Retry-After", email.utils.formatdate(time.time() + 2, usegmt=True))])
        elif case == "429ms":
            self.error(429, "rate_limit_error", "slow down", [("retry-after-ms", "250")])
        elif case == "429z":
            self.error(429, "rate_limit_error", "slow down", [("Retry-After", "0")])
        elif case == "500":
            self.error(500, "api_error", "something went wrong")
        elif case == "503html":
            self.whole(503, b"<html><body>Bad gateway</body></html>", "text/html")
        elif case == "529":
            self.error(529, "overloaded_error", "Overloaded", [("retry-after-ms", "300")])
        elif case == "error":
            self.begin()
            self.say("I think")
            if self.openai:
                self.event({"error": {"message": "Overloaded", "type": "overloaded_error"}})
            else:
                self.event({"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}, "error")
            self.chunk("")
        elif case == "truncated":
            self.begin()
            self.chunk('data: {"choices": [{"delta": {"cont\n\n')
            self.end()
        elif case == "utf8":
            self.begin()
            self.chunk(b'data: {"type":"content_block_delta","delta":{"text":"a\xff\xc3"},'
                       b'"choices":[{"delta":{"content":"a\xff\xc3"}}]}\n\n')
            self.end()
        elif case == "html":
            self.whole(200, b"<html><body>Please log in</body></html>", "text/html")
        elif case == "quota":
            self.error(429, "insufficient_quota", "You exceeded your current quota", code="insufficient_quota")
        elif case == "402":
            self.error(402, "billing_error", "Your credit balance is too low")
        elif case == "404":
            self.error(404, "not_found_error", f"The model `{self.model}` does not exist", code="model_not_found")
        elif case == "400":
            self.error(400, "invalid_request_error", "messages: text content is too long")
        elif case == "redirect":
            self.whole(307, b"", headers=[("Location", "http://127.0.0.1:1/v1/elsewhere")])
        elif case == "flood":  # an answer without end
            self.begin()
            line = "x" * 65536
            for _ in range(400):
                self.say(line)
            self.end()
        else:
            self.error(500, "api_error", f"no such case: {case}")

    def behave(self, case):
        """Cases that are answers."""
        if case == "huge":  # 10 MiB
            self.begin()
            line = "#" * 65535 + "\n"
            for _ in range(160):
                self.say(line)
            self.say(answer_text(self.body))
            self.end()
        elif case == "slow":
            self.stream(pause=0.02)
        elif case == "plain":
            self.stream(kind="text/plain")
        elif case == "json":  # does not stream
            text = answer_text(self.body)
            if self.openai:
                self.whole(200, {"model": "served-json", "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
                                 "usage": {"prompt_tokens": 100, "completion_tokens": 40}})
            else:
                self.whole(200, {"model": "served-json", "content": [{"type": "text", "text": text}],
                                 "stop_reason": "end_turn", "usage": {"input_tokens": 100, "output_tokens": 40}})
        elif case == "reasoning":
            self.begin()
            if self.openai:
                self.event({"choices": [{"delta": {"reasoning_content": "hmm"}}]})
                self.event({"choices": [{"delta": {"reasoning": "hmm"}}]})
            else:
                self.event({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hmm"}})
            self.say(answer_text(self.body))
            self.end()
        elif case == "onlyreasoning" and self.openai:
            self.begin()
            self.event({"choices": [{"delta": {"reasoning_content": answer_text(self.body)}}]})
            self.end()
        elif case == "bytes":  # one byte at a time, CRLF, comments
            self.begin()
            data = (": comment\r\n" + "".join(
                f"data: {json.dumps({'choices': [{'delta': {'content': p}}], 'type': 'content_block_delta', 'delta': {'text': p}})}\r\n\r\n"
                for p in (answer_text(self.body)[:20], answer_text(self.body)[20:]))).encode()
            for i in range(0, len(data), 3):
                self.chunk(data[i:i + 3])
            self.end()
        elif case == "temperature":
            if "temperature" in self.body:
                self.error(400, "invalid_request_error", "Unsupported parameter: 'temperature' is not supported with this model.",
                           param="temperature", code="unsupported_parameter")
            else:
                self.stream()
        elif case == "limits":
            self.stream()
        else:
            self.stream()

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.openai = self.path.endswith("/chat/completions")
        self.body = json.loads(raw)
        self.model = self.body.get("model", "")
        self.forever = self.model.endswith("!")
        case = self.model.rstrip("!").split("/")[0]
        key = self.headers.get("Authorization", "")[7:] if self.openai else self.headers.get("x-api-key", "")
        if arguments.log:
            with seen_lock, open(arguments.log, "a") as f:
                json.dump({"path": self.path, "body": self.body, "key": bool(key), "time": time.time(),
                           "version": self.headers.get("anthropic-version")}, f)
                f.write("\n")
        if arguments.key and key != arguments.key:
            self.error(401, "authentication_error", f"Incorrect API key provided: {key}", code="invalid_api_key")
            return
        question = (self.model, self.openai, json.dumps(self.body.get("messages")))
        with seen_lock:
            count = seen[question] = seen.get(question, 0) + 1
            first16 = self.model.startswith("many") and count == 1 and hash(question) % 4 == 0
        bad = case in ("stall", "silent", "drop", "refuse", "cut", "429s", "429d", "429ms", "429z", "500", "503html", "529", "error",
                       "truncated", "utf8", "html", "quota", "402", "404", "400", "redirect", "flood")
        try:
            if first16:
                self.misbehave("429s")
            elif bad and (count == 1 or self.forever):
                self.misbehave(case)
            elif case == "many":
                self.stream(pause=0.05)
            else:
                self.behave(case)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):  # clients that go away are what this is for
        pass


def main():
    global arguments
    parser = argparse.ArgumentParser()
    parser.add_argument("--key")
    parser.add_argument("--log")
    parser.add_argument("--tls")
    arguments = parser.parse_args()
    server = Server(("127.0.0.1", 0), Handler)
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
