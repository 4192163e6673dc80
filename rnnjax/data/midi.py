"""Piano rolls from MIDI files, and back.

    roll = read_midi("piece.mid", steps_per_quarter=2)      [steps, 88] uint8, a step an eighth note
    write_midi("again.mid", roll, steps_per_quarter=2)

Key k is MIDI pitch 21 + k, as on a piano. `mido` is imported when a file is read or written, not with this module.
"""

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

KEYS, LOWEST, DRUMS = 88, 21, 9  # drums are the tenth channel: their pitches are instruments
STEPS_PER_QUARTER = 2
TICKS_PER_QUARTER = 480  # in files written here


def read_midi(path: str | os.PathLike, steps_per_quarter: int = STEPS_PER_QUARTER) -> np.ndarray:
    """All tracks but drums as one roll [steps, 88] uint8. A step is a share of a quarter note, whatever the tempo.

    A note begins at the step nearest to its beginning, ends before that nearest to its end, and lasts one at least.

    Raises:
      ValueError: what is no MIDI file, measures time in seconds or tracks apart, has no note or one that no piano has.
    """
    import mido

    _check_steps(steps_per_quarter)
    try:
        file = mido.MidiFile(path, clip=True)
    except (OSError, EOFError, ValueError, LookupError, mido.KeySignatureError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} cannot be read as MIDI: {error or type(error).__name__}") from None
    if file.type == 2 or file.ticks_per_beat <= 0:
        raise ValueError(
            f"{path}: a MIDI file of type {file.type} with {file.ticks_per_beat} ticks a quarter is not read"
        )
    notes = [note for track in file.tracks for note in _notes(track)]
    if not notes:
        raise ValueError(f"{path}: there is no note in it")
    odd = [pitch for pitch, _, _ in notes if not LOWEST <= pitch < LOWEST + KEYS]
    if odd:
        raise ValueError(f"{path}: {len(odd)} notes are not on a piano, the first of pitch {odd[0]}; 21 .. 108 are")
    pitch, start, end = np.array(notes).T
    start, end = (np.rint(ticks * steps_per_quarter / file.ticks_per_beat).astype(int) for ticks in (start, end))
    end = np.maximum(end, start + 1)
    roll = np.zeros((end.max(), KEYS), np.uint8)
    for key, first, last in zip(pitch - LOWEST, start, end, strict=True):
        roll[first:last, key] = 1
    return roll


def _notes(track: Any) -> list[tuple[int, int, int]]:
    """Pitch, beginning and end in ticks of each note. One that is never released sounds to the end
    of the track."""
    notes, now = [], 0
    down: dict[tuple[int, int], list[int]] = defaultdict(list)
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == DRUMS:
            continue
        sounding = down[message.channel, message.note]
        if message.type == "note_on" and message.velocity:
            sounding.append(now)
        elif sounding:
            notes.append((message.note, sounding.pop(0), now))
    return notes + [(pitch, start, now) for (_, pitch), starts in down.items() for start in starts]


def write_midi(
    path: str | os.PathLike,
    roll: np.ndarray,
    steps_per_quarter: int = STEPS_PER_QUARTER,
    quarters_per_minute: float = 120,
) -> None:
    """A roll [steps, 88] as a MIDI file of one track. A key that stays down is one note, held.

    Raises:
      ValueError: another shape, steps that are no share of a quarter note, or a tempo that is not above 0.
    """
    import mido

    _check_steps(steps_per_quarter)
    if TICKS_PER_QUARTER % steps_per_quarter:
        raise ValueError(f"steps_per_quarter={steps_per_quarter} must divide {TICKS_PER_QUARTER} to be written")
    if roll.ndim != 2 or roll.shape[1] != KEYS:
        raise ValueError(f"shape {roll.shape}; a piano roll is [steps, {KEYS}]")
    if not 4 <= quarters_per_minute < np.inf:
        raise ValueError(f"quarters_per_minute={quarters_per_minute} must be 4 at least")
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(quarters_per_minute))])
    padded = np.pad(np.asarray(roll, bool).astype(np.int8), ((1, 1), (0, 0)))
    last = 0
    for step, change in enumerate(np.diff(padded, axis=0)):
        now = step * TICKS_PER_QUARTER // steps_per_quarter
        for key in np.argsort(change, kind="stable"):  # released before struck
            if change[key]:
                kind = "note_on" if change[key] > 0 else "note_off"
                track.append(mido.Message(kind, note=LOWEST + int(key), velocity=64, time=now - last))
                last = now
    track.append(mido.MetaMessage("end_of_track", time=len(roll) * TICKS_PER_QUARTER // steps_per_quarter - last))
    mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_QUARTER, tracks=[track]).save(Path(path))


def _check_steps(steps_per_quarter: int) -> None:
    if steps_per_quarter < 1:
        raise ValueError(
            f"steps_per_quarter={steps_per_quarter} must be 1 at least: 1 is a step a quarter note, 4 a 16th"
        )
