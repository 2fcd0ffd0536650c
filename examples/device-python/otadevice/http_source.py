"""Where the bytes come from: HTTP, from an offset on.

download.py needs of a source only this: open(url, offset, validator) gives an Answer, or raises SourceBroken (try again
later) or SourceRefused (pointless).  A source that asks a broker for blocks, or a modem's own file transfer, fits in here.
"""

import dataclasses
import http.client
import re
import ssl
import typing
import urllib.error
import urllib.request

_CHUNK = 65536


class SourceBroken(Exception):
    """The transfer broke, or could not begin; what has arrived is good."""


class SourceRefused(Exception):
    """It is pointless to ask again."""


@dataclasses.dataclass
class Answer:
    offset: typing.Optional[int]  # of the first byte that comes; None: not what was asked for, or the server does not say
    total: typing.Optional[int]  # length of the whole file; None: the server does not say
    validator: str  # changes when the file does; empty: the server has none
    chunks: typing.Iterator[bytes]  # may raise SourceBroken


class HttpSource:
    def __init__(self, stall_seconds, cafile=""):
        self._stall_seconds = stall_seconds
        context = ssl.create_default_context(cafile=cafile or None)
        # Only what is listed here: the default opener would also read file: and ftp: addresses.
        self._opener = urllib.request.OpenerDirector()
        for handler in (urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(context=context),
                        urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPRedirectHandler(),
                        urllib.request.HTTPErrorProcessor()):
            self._opener.add_handler(handler)

    def open(self, url, offset, validator):
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "Connection": "close"})
        if offset:
            request.add_header("Range", f"bytes={offset}-")
            if validator:
                # "Go on, if it is still the same file; else all of it": no bytes of two files get mixed.
                request.add_header("If-Range", validator)
        try:
            response = self._opener.open(request, timeout=self._stall_seconds)
        except urllib.error.HTTPError as error:
            return self._refused(error, offset)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceBroken(f"{url}: {error}") from None
        begin, total = self._span(response, offset)
        return Answer(begin, total, _validator(response), self._chunks(response))

    @staticmethod
    def _refused(error, offset):
        error.close()
        if error.code == 416:
            # Nothing there from the offset on.  The total says whether that is as it should be.
            total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
            return Answer(offset, int(total[1]) if total else None, "", iter(()))
        if 400 <= error.code < 500 and error.code not in (408, 425, 429):
            raise SourceRefused(f"the server answers {error.code}")
        raise SourceBroken(f"the server answers {error.code}")

    @staticmethod
    def _span(response, offset):
        """First byte and total length, from Content-Range of an answer 206, else from Content-Length."""
        if response.status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if not match or int(match[1]) != offset:
                return None, None
            return int(match[1]), None if match[2] == "*" else int(match[2])
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None

    @staticmethod
    def _chunks(response):
        with response:
            try:
                # read1: what has come, at once.  read() would wait for a whole chunk, and lose it when the line breaks.
                while chunk := response.read1(_CHUNK):
                    yield chunk
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise SourceBroken(str(error)) from None


def _validator(response):
    """A strong ETag, or a date; a weak ETag does not promise the same bytes (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    return "" if etag else response.headers.get("Last-Modified", "")
