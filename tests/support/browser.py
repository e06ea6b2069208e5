#!/usr/bin/env python3
"""Opens a page in headless Chromium, over its debugging pipe, and tells how that went, as JSON.

browser.py PAGE [--eval JS]... [--shot OUT.png] [--width N] [--height N] [--top Y] [--media print] [--dark] [--offline]

{"load": seconds to the load event, "paint": to the first contentful paint, "errors": [texts], "requests": [addresses
other than the page's], "values": [of the --eval expressions], "seconds": [that each took]}. Exit status 77: there is no
Chromium (AIRA_CHROMIUM names one).
"""
import argparse, base64, json, os, shutil, subprocess, sys, tempfile, time


def find():
    named = os.environ.get("AIRA_CHROMIUM")
    for name in [named] if named else ["chromium", "chromium-headless-shell", "chromium-browser", "google-chrome"]:
        if shutil.which(name):
            return shutil.which(name)
    print("no Chromium on this machine; AIRA_CHROMIUM may name one", file=sys.stderr)
    sys.exit(77)


class Browser:
    def __init__(self, home):
        down, up = os.pipe(), os.pipe()

        def pipes():  # Chromium reads commands from 3 and writes answers to 4
            a, b = os.dup(down[0]), os.dup(up[1])
            a, b = os.dup2(a, 30), os.dup2(b, 31)
            os.dup2(a, 3)
            os.dup2(b, 4)

        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                   "--no-first-run", "--disable-extensions", "--remote-debugging-pipe", "--user-data-dir=" + home]
        self.process = subprocess.Popen([find()] + options + ["about:blank"], close_fds=False, preexec_fn=pipes,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(down[0])
        os.close(up[1])
        self.out, self.inp = down[1], os.fdopen(up[0], "rb", 0)
        self.id, self.events, self.rest = 0, [], b""

    def read(self):
        while b"\0" not in self.rest:
            piece = self.inp.read(1 << 20)
            if not piece:
                sys.exit("Chromium ended")
            self.rest += piece
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def ask(self, method, session=None, **parameters):
        self.id += 1
        message = {"id": self.id, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        while True:
            answer = self.read()
            if answer.get("id") == self.id:
                if "error" in answer:
                    sys.exit("%s: %s" % (method, answer["error"]))
                return answer["result"]
            self.events.append(answer)

    def wait(self, name):
        while not any(e.get("method") == name for e in self.events):
            self.events.append(self.read())


def main():
    p = argparse.ArgumentParser()
    p.add_argument("page")
    p.add_argument("--eval", action="append", default=[])
    p.add_argument("--shot")
    p.add_argument("--width", type=int, default=1200)
    p.add_argument("--height", type=int, default=1000)
    p.add_argument("--top", type=int, default=-1)
    p.add_argument("--media", default="")
    p.add_argument("--dark", action="store_true")
    p.add_argument("--offline", action="store_true")
    a = p.parse_args()
    home = tempfile.mkdtemp(prefix="aira-browser-")
    b = Browser(home)
    target = b.ask("Target.createTarget", url="about:blank")["targetId"]
    s = b.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        b.ask(domain + ".enable", s)
    b.ask("Emulation.setDeviceMetricsOverride", s, width=a.width, height=a.height, deviceScaleFactor=1, mobile=a.width < 600)
    b.ask("Emulation.setEmulatedMedia", s, media=a.media,
          features=[{"name": "prefers-color-scheme", "value": "dark" if a.dark else "light"}])
    if a.offline:
        b.ask("Network.emulateNetworkConditions", s, offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    b.events.clear()
    address = "file://" + os.path.abspath(a.page.split("#")[0]) + ("#" + a.page.split("#")[1] if "#" in a.page else "")
    b.ask("Page.navigate", s, url=address)
    b.wait("Page.loadEventFired")

    def evaluate(js):
        r = b.ask("Runtime.evaluate", s, expression=js, returnByValue=True, awaitPromise=True)
        return r["result"].get("value"), r.get("exceptionDetails")

    out = {"values": [], "seconds": []}
    settle = "new Promise(f => requestAnimationFrame(() => setTimeout(f, 0)))"
    evaluate(settle)
    times, _ = evaluate("[performance.timing.loadEventEnd - performance.timing.navigationStart, "
                        "(performance.getEntriesByName('first-contentful-paint')[0] || {}).startTime || null]")
    out["load"], out["paint"] = times[0] / 1e3, times[1] / 1e3 if times[1] else None
    errors = []
    for js in a.eval:
        began = time.monotonic()
        value, wrong = evaluate(js)
        if wrong:
            errors.append(wrong.get("exception", {}).get("description", str(wrong)))
        evaluate(settle)
        out["values"].append(value)
        out["seconds"].append(round(time.monotonic() - began, 3))
    if a.shot:
        clip = {}
        if a.top >= 0:
            clip = {"clip": {"x": 0, "y": a.top, "width": a.width, "height": a.height, "scale": 1}, "captureBeyondViewport": True}
        with open(a.shot, "wb") as f:
            f.write(base64.b64decode(b.ask("Page.captureScreenshot", s, format="png", **clip)["data"]))
    for e in b.events:
        if e.get("method") == "Runtime.exceptionThrown":
            d = e["params"]["exceptionDetails"]
            errors.append(d.get("exception", {}).get("description", d.get("text", "")))
        elif e.get("method") == "Log.entryAdded" and e["params"]["entry"]["level"] in ("error", "warning"):
            errors.append(e["params"]["entry"]["text"])
        elif e.get("method") == "Runtime.consoleAPICalled" and e["params"]["type"] in ("error", "warning"):
            errors.append(json.dumps(e["params"]["args"]))
    out["errors"] = errors
    out["requests"] = [e["params"]["request"]["url"] for e in b.events if e.get("method") == "Network.requestWillBeSent"
                       and e["params"]["request"]["url"] != address.split("#")[0]]
    b.process.terminate()
    b.process.wait()
    for _ in range(50):  # the browser's own children write to its folder a little longer
        shutil.rmtree(home, ignore_errors=True)
        if not os.path.exists(home):
            break
        time.sleep(0.1)
    print(json.dumps(out))


main()
