"""A visitor without a screen: speaks to the server as Streamlit's page in a browser does, and draws nothing."""

from __future__ import annotations

import asyncio
import hashlib
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.soak_answers import Asked, Seen

PATIENCE = 120.0
"""Seconds after which an answer that has not come is one that does not come."""
COOKIE = "_streamlit_xsrf"


def fetch(url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> tuple[bytes, Any]:
    """What lies at an address and the answer's headers; with a body it is put there. Raises `OSError`."""
    method = "GET" if body is None else "PUT"
    request = urllib.request.Request(url, body, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read(), answer.headers


class Client:
    """One session: what its page shows by the place of each element, and what its widgets were set to."""

    def __init__(self, socket: Any, url: str, cookie: str) -> None:
        self.socket, self.url, self.cookie = socket, url, cookie
        self.session, self.query, self.page = "", "", ""
        self.elements: dict[tuple[int, ...], Any] = {}
        self.states: dict[str, WidgetState] = {}
        self.fragments: set[str] = set()

    async def run(self, *, fragment: str = "", press: str = "", until: str = "", page_name: str = "") -> None:
        """Have the script run, by pressing a button or for a part of the page alone, and read what it sends.

        Ends early once a figure stands at another address than `until`, where that is given.
        """
        page = "" if page_name else self.page
        state = ClientState(
            query_string=self.query, fragment_id=fragment, page_script_hash=page, page_name=page_name
        )
        state.widget_states.widgets.extend(self.states.values())
        if press:
            state.widget_states.widgets.append(WidgetState(id=press, trigger_value=True))
        state.context_info.timezone = "UTC"
        await self._send(BackMsg(rerun_script=state))
        await self.finish(until)

    async def finish(self, until: str = "") -> None:
        """Read on until the script has ended, or a figure stands at another address than `until`."""
        async with asyncio.timeout(PATIENCE):
            while not (until and self.figure() not in ("", until)):
                message = await self._receive()
                if message.WhichOneof("type") == "script_finished" and message.script_finished in (0, 3):
                    return

    async def _send(self, message: BackMsg) -> None:
        await self.socket.send(message.SerializeToString())

    async def _receive(self) -> ForwardMsg:
        message = ForwardMsg()
        message.ParseFromString(await self.socket.recv())
        self._take(message)
        return message

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.session = message.new_session.initialize.session_id or self.session
            if not message.metadata.run.fragment_ids:
                self.elements.clear()
                self.fragments.clear()
        elif kind == "navigation":
            self.page = message.navigation.page_script_hash
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "auto_rerun":
            self.fragments.add(message.auto_rerun.fragment_id)
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self.elements[tuple(message.metadata.delta_path)] = message.delta.new_element

    def those(self, kind: str) -> list[Any]:
        """The elements of a kind that the page shows."""
        return [
            getattr(each, kind) for each in list(self.elements.values()) if each.WhichOneof("type") == kind
        ]

    def figure(self) -> str:
        """The figure's address, empty where there is none."""
        return next((each.imgs[0].url for each in self.those("imgs") if _is_figure(each)), "")

    def text(self) -> str:
        """What the page says."""
        said = [each.body for each in (*self.those("markdown"), *self.those("alert"))]
        return "\n".join([*said, *(each.text for each in self.those("progress"))]).replace("\\", "")

    async def seen(self) -> Seen:
        """What the page shows, with the figure's file as a browser would get it."""
        (image,) = (each.imgs[0] for each in self.those("imgs") if _is_figure(each))
        content, _ = await asyncio.to_thread(fetch, self.url + image.url)
        return Seen(image.alt, hashlib.sha256(content).hexdigest(), self.text())

    async def open(self, asked: Asked) -> Seen:
        """Open the Explain page by a link, bring a picture where there is one, and see the first answer."""
        self.query = asked.link().removeprefix("?")
        await self.run()
        if asked.upload is not None:
            await self._upload(*asked.upload)
            await self.run()
        return await self.seen()

    async def open_page(self, name: str) -> None:
        """Open a page by its name."""
        await self.run(page_name=name)

    async def change(self, severity: float) -> tuple[float, Seen]:
        """Move the slider: seconds until the new figure is here, and what the page shows then."""
        (slider,) = (each for each in self.those("slider") if each.label == "Severity")
        state = WidgetState(id=slider.id)
        state.double_array_value.data.append(severity)
        self.states[slider.id] = state
        before, begin = self.figure(), time.perf_counter()
        await self.run(until=before)
        await asyncio.to_thread(fetch, self.url + self.figure())
        took = time.perf_counter() - begin
        await self.finish()
        return took, await self.seen()

    async def _upload(self, name: str, content: bytes) -> None:
        (widget,) = (each for each in self.those("file_uploader") if each.label == "Pictures")
        message = BackMsg()
        message.file_urls_request.request_id = uuid.uuid4().hex
        message.file_urls_request.file_names.append(name)
        message.file_urls_request.session_id = self.session
        await self._send(message)
        while (answer := await self._receive()).WhichOneof("type") != "file_urls_response":
            pass
        (urls,) = answer.file_urls_response.file_urls
        await asyncio.to_thread(fetch, self.url + urls.upload_url, *self._form(name, content))
        state = WidgetState(id=widget.id)
        info = state.file_uploader_state_value.uploaded_file_info.add(
            name=name, size=len(content), file_id=urls.file_id
        )
        info.file_urls.CopyFrom(urls)
        self.states[widget.id] = state

    def _form(self, name: str, content: bytes) -> tuple[dict[str, str], bytes]:
        headers = {"X-Xsrftoken": self.cookie, "Cookie": f"{COOKIE}={self.cookie}"}
        headers["Content-Type"] = "multipart/form-data; boundary=edge"
        head = f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        return headers, head.encode() + content + b"\r\n--edge--\r\n"

    async def half_an_upload(self, size: int = 4_000_000) -> None:
        """Begin to send a file as a browser does, and close the connection halfway."""
        place = urlsplit(self.url)
        headers, body = self._form("half.png", b"\0" * size)
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        path = f"/_stcore/upload_file/{self.session}/{uuid.uuid4()}"
        head = f"PUT {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        _reading, writing = await asyncio.open_connection(place.hostname, place.port)
        writing.write(head.encode() + body[: size // 2])
        await writing.drain()
        writing.transport.abort()

    async def vanish(self) -> None:
        """Ask for a page and be gone before it is drawn, without a word."""
        await self._send(BackMsg(rerun_script=ClientState(query_string=self.query)))
        await self._receive()
        self.socket.transport.abort()

    def press(self, label: str) -> str:
        """The id of the button whose label begins so, empty where there is none."""
        return next((each.id for each in self.those("button") if each.label.startswith(label)), "")


def _is_figure(images: Any) -> bool:
    return bool(images.imgs and images.imgs[0].alt.startswith("Figure for"))


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    """A visitor who has never been here."""
    _, headers = await asyncio.to_thread(fetch, f"{url}/_stcore/health")
    cookie = SimpleCookie(headers["Set-Cookie"])[COOKIE].value
    address = f"ws://{urlsplit(url).netloc}/_stcore/stream"
    sent = {"Cookie": f"{COOKIE}={cookie}", "Origin": url}
    async with connect(
        address,
        subprotocols=[Subprotocol("streamlit"), Subprotocol(cookie)],
        additional_headers=sent,
        max_size=None,
    ) as socket:
        yield Client(socket, url, cookie)
