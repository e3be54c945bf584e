"""Speech synthesised by espeak-ng (GPL-3.0-or-later), which is called as a shared library.

The library is that of the package `espeakng-loader`, else that of the system. It keeps state from
utterance to utterance, even after its own reset, so that the same word differs by a few samples.
`Voices` loads it anew, which resets everything.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from types import TracebackType

import numpy as np

from metarun.errors import Refused

SYNCHRONOUS, DONT_EXIT, UTF8 = 2, 0x8000, 1  # AUDIO_OUTPUT_…, espeakINITIALIZE_…, espeakCHARS_…
SPEED, PITCH, INTONATION = 1, 3, 4  # espeak's numbers of parameters
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
SYNTH = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint)
ADVICE = (
    "data=spoken_words: needs espeak-ng: pip install 'metarun[speech]', or install the package "
    "espeak-ng of your system"
)


class Voices:
    """The synthesiser in the state after its start, as a context.

    Attributes:
        rate: samples per second.
        version: the version of espeak-ng.

    Raises:
        Refused: espeak-ng is not installed.
    """

    def __enter__(self) -> Voices:
        path, data = _located()
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise Refused(f"{ADVICE} ({error})") from error
        try:
            self._start(data)
        except Refused:
            self._unload()
            raise
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.espeak_Terminate()
        self._unload()

    def _start(self, data: str | None) -> None:
        library = self._library
        try:
            library.espeak_Info.restype = ctypes.c_char_p
            library.espeak_Initialize.argtypes = (*[ctypes.c_int] * 2, *SYNTH[:1], ctypes.c_int)
            library.espeak_Synth.argtypes = (*SYNTH, ctypes.c_uint, *[ctypes.c_void_p] * 2)
        except AttributeError as error:
            raise Refused(f"{ADVICE} ({error})") from error
        self.version = library.espeak_Info(None).decode()
        self.rate = library.espeak_Initialize(SYNCHRONOUS, 0, data and data.encode(), DONT_EXIT)
        if self.rate <= 0:
            raise Refused(f"{ADVICE} (its voices are missing)")
        self._parts: list[bytes] = []
        self._callback = CALLBACK(self._receive)  # kept: the library stores its address only
        library.espeak_SetSynthCallback(self._callback)

    def _unload(self) -> None:
        import _ctypes

        _ctypes.dlclose(self._library._handle)

    def say(self, text: str, voice: str, speed: int, pitch: int, intonation: int) -> np.ndarray:
        """Samples (samples,) of the text, float64 between −1 and 1.

        Args:
            voice: language and variant, such as `fi+f2`.
            speed: words per minute, from 80 to 450.
            pitch: base pitch, from 0 to 99.
            intonation: range of the pitch, from 0 to 100.

        Raises:
            Refused: the installed espeak-ng lacks the voice.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise Refused(f"{ADVICE}, with all voices: {voice} is missing in the one installed")
        for number, value in ((SPEED, speed), (PITCH, pitch), (INTONATION, intonation)):
            self._library.espeak_SetParameter(number, value, 0)
        self._parts.clear()
        content = text.encode()
        self._library.espeak_Synth(content, len(content) + 1, 0, 0, 0, UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.frombuffer(b"".join(self._parts), np.int16) / 32768

    def _receive(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._parts.append(ctypes.string_at(samples, 2 * count))
        return 0  # continue


def _located() -> tuple[str, str | None]:
    """Paths of the library and of its data; `None`: where the library itself looks for it."""
    try:
        import espeakng_loader
    except ImportError:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise Refused(ADVICE) from None
        return path, None
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
