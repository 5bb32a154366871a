"""The sound of a video file, on its way into the annotated video: copied, and not encoded anew."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet

OVERLAP_S = 0.002  # packets may overlap by this: Matroska rounds times to milliseconds


class _TimedPacket(NamedTuple):
    start_s: float  # from the first picture
    end_s: float
    packet: "Packet | None"  # None: the file's clock jumps, and no earlier packet goes on


class Sound:
    """The coded sound of a video file, in packets whose times are those of its pictures.

    The thread that decodes the file adds packets, and another one takes them. Where the file's
    clock jumps, or the file starts again, the packets from then on replace those that were not
    taken yet.
    """

    def __init__(self, stream: "AudioStream"):
        """stream: of a file that stays open, as the template of a copy."""
        self.stream = stream
        self._discarded = False
        self._shift_s = 0.0  # from the file's times to seconds from the first picture
        self._unplaced: list[Packet] = []
        self._placed: deque[_TimedPacket] = deque()  # what one thread hands over to the other
        self._due: deque[_TimedPacket] = deque()
        self._end_s = 0.0  # of the packet that was taken last
        self.gap_s = 0.0  # of silence before that packet

    @property
    def is_aac_without_header(self) -> bool:
        """Whether it is AAC as in transport streams, where each packet has a header of its own."""
        context = self.stream.codec_context  # none of a codec that FFmpeg does not know
        return bool(context) and context.name == "aac" and not context.extradata

    def discard(self) -> None:
        """Collect no more packets: nobody will take them."""
        self._discarded = True

    def add(self, packet: "Packet") -> None:
        """Add a packet, with the time that the file states."""
        if packet.pts is not None and not self._discarded:  # the last one of a stream is empty
            self._unplaced.append(packet)

    def place(self, time_s: float, stamp_s: float) -> None:
        """Hand over the packets added since the last call, at the times of the pictures.

        time_s: of the newest picture, from the first one; stamp_s: the same as the file states it.
        """
        if abs(time_s - stamp_s - self._shift_s) > OVERLAP_S:
            self._shift_s = time_s - stamp_s
            self._placed.append(_TimedPacket(time_s, time_s, None))
        for packet in self._unplaced:
            packet.pts = packet.dts = (packet.pts or 0) + round(self._shift_s / packet.time_base)
            start_s = float(packet.pts * packet.time_base)
            end_s = start_s + float((packet.duration or 1) * packet.time_base)
            self._placed.append(_TimedPacket(start_s, end_s, packet))
        self._unplaced.clear()

    def until(self, end_s: float) -> "Iterator[Packet]":
        """Take the packets that start before end_s, seconds from the first picture, in order."""
        while self._placed:
            new = self._placed.popleft()
            while self._due and new.start_s < self._due[-1].end_s - OVERLAP_S:
                self._due.pop()
            if new.packet and new.start_s >= self._end_s - OVERLAP_S:
                self._due.append(new)
        while self._due and self._due[0].start_s < end_s:
            start_s, next_end_s, packet = self._due.popleft()
            self.gap_s, self._end_s = start_s - self._end_s, next_end_s
            if packet:
                yield packet
