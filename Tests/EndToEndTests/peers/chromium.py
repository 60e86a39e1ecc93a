"""A headless Chromium, driven by the DevTools protocol over two pipes."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import tempfile

# Without a sandbox, as root has none; no shared memory file system, as containers have a small one.
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run
  --disable-background-networking --disable-component-update --disable-extensions --disable-sync
  --metrics-recording-only --mute-audio --hide-scrollbars --remote-debugging-pipe about:blank"""


class Failed(Exception):
    pass


class Page:
    """One page, and all that its console and its log have said."""

    def __init__(self, pipe_in, pipe_out):
        self._write = pipe_in
        self._reader = pipe_out
        self._waiting = {}
        self._number = 0
        self._session = None
        self.complaints = []

    async def _begin(self):
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=64 << 20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._reader)
        self._task = asyncio.create_task(self._read(reader))
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def _read(self, reader):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                message = json.loads((await reader.readuntil(b"\0"))[:-1])
                if "id" in message:
                    self._waiting.pop(message["id"]).set_result(message)
                else:
                    self._note(message["method"], message.get("params", {}))
        for future in self._waiting.values():
            future.set_exception(Failed("the browser has ended"))

    def _note(self, method, params):
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(" ".join(str(a.get("value", a)) for a in params["args"]))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or str(details))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]
            self.complaints.append(f"{entry['text']} {entry.get('url', '')}")

    async def call(self, method, **params):
        self._number += 1
        future = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = future
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answer = await asyncio.wait_for(future, 60)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error']}")
        return answer["result"]

    async def look(self, width=1280, height=900, scheme="light", scale=1):
        """How large the window is, and which colours its user prefers."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])

    async def open(self, url):
        result = await self.call("Page.navigate", url=url)
        if "errorText" in result:
            raise Failed(f"{url}: {result['errorText']}")

    async def value(self, expression):
        """What a JavaScript expression is, promises awaited."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise Failed(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def text(self, selector="body"):
        found = f"document.querySelector({json.dumps(selector)})"
        return await self.value(f"{found}?.innerText ?? ''")

    async def until(self, expression, seconds=30):
        """Waits until a JavaScript expression holds, and returns what it is."""
        for _ in range(int(seconds / 0.05)):
            if found := await self.value(expression):
                return found
            await asyncio.sleep(0.05)
        raise Failed(f"waited in vain for {expression}; the page: {await self.text()}")

    async def screenshot(self, path):
        """The whole page, however long it is."""
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))


@contextlib.asynccontextmanager
async def chromium():
    """A page of a browser that ends, with its profile, when the block does."""
    profile = tempfile.mkdtemp(prefix="remoteingress-browser-")
    to_browser, ours_in = os.pipe()
    ours_out, from_browser = os.pipe()
    # The browser reads its descriptor 3 and writes 4; the shell puts ours there.
    command = f'exec chromium --user-data-dir="$0" {" ".join(FLAGS.split())}'
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f"{command} 3<&{to_browser} 4>&{from_browser}", profile,
        pass_fds=(to_browser, from_browser), start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    page = Page(ours_in, os.fdopen(ours_out, "rb", buffering=0))
    try:
        await asyncio.wait_for(page._begin(), 60)
        yield page
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        os.close(ours_in)
        shutil.rmtree(profile, ignore_errors=True)
