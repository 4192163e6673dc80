"""MIDI files as piano rolls: what is written comes back, and what other programs write is read."""

import mido
import numpy as np
import pytest

from rnnjax.data.midi import KEYS, read_midi, write_midi
from rnnjax.data.piano_rolls import from_folder, read_roll


def notes(*messages, ticks=480, kind=1, path):
    """A file of one track of (type, pitch, velocity, ticks since the last one, channel)."""
    track = mido.MidiTrack(
        mido.Message(name, note=pitch, velocity=velocity, time=time, channel=channel)
        for name, pitch, velocity, time, channel in messages
    )
    mido.MidiFile(type=kind, ticks_per_beat=ticks, tracks=[mido.MidiTrack(), track]).save(path)
    return path


@pytest.mark.parametrize("steps_per_quarter", [1, 2, 4, 3])
def test_what_is_written_is_read_again(tmp_path, steps_per_quarter):
    roll = (np.random.default_rng(0).random((40, KEYS)) < 0.1).astype(np.uint8)
    roll[[0, 5]] = 0
    roll[-1, [0, 87]] = 1
    write_midi(tmp_path / "a.mid", roll, steps_per_quarter)
    np.testing.assert_array_equal(read_midi(tmp_path / "a.mid", steps_per_quarter), roll)
    assert mido.MidiFile(tmp_path / "a.mid").length == pytest.approx(40 / steps_per_quarter * 0.5)


def test_notes_of_other_programs(tmp_path):
    path = notes(
        ("note_on", 60, 64, 0, 0),
        ("note_on", 35, 64, 0, 9),  # a drum
        ("note_on", 64, 64, 230, 0),  # an eighth is 240 ticks: a little early
        ("note_on", 60, 0, 260, 0),  # released by a velocity of 0, a little late
        ("note_on", 67, 64, 0, 1),
        ("note_off", 67, 0, 10, 1),  # too short for a step
        ("note_off", 64, 0, 220, 0),
        ("note_on", 108, 64, 0, 0),  # never released
        ("note_off", 30, 0, 480, 0),  # never struck
        path=tmp_path / "a.MID",
    )
    roll = read_roll(path)
    down = [set(np.flatnonzero(row) + 21) for row in roll]
    assert down == [{60}, {60, 64}, {64, 67}, {108}, {108}]


@pytest.mark.parametrize(
    ("pitches", "kind", "message"),
    [
        ([20, 60], 1, "1 notes are not on a piano, the first of pitch 20; 21 .. 108 are"),
        ([], 1, "there is no note in it"),
        ([60], 2, "a MIDI file of type 2"),
    ],
)
def test_files_without_a_piece_for_piano(tmp_path, pitches, kind, message):
    struck = [(name, pitch, 64, 480, 0) for pitch in pitches for name in ("note_on", "note_off")]
    with pytest.raises(ValueError, match=rf"a\.mid: {message}"):
        read_midi(notes(*struck, kind=kind, path=tmp_path / "a.mid"))


def test_what_is_no_midi_file(tmp_path):
    path = tmp_path / "a.mid"
    write_midi(path, np.eye(KEYS, dtype=np.uint8))
    whole = path.read_bytes()
    for content in (b"", b"RIFF" + bytes(40), whole[:20], whole[:100], whole[:14] + b"\xff" * 50):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.mid cannot be read as MIDI"):
            read_midi(path)
    with pytest.raises(FileNotFoundError):
        read_midi(tmp_path / "none.mid")


def test_options_that_cannot_be(tmp_path):
    roll = np.eye(KEYS, dtype=np.uint8)
    for options in ({"steps_per_quarter": 0}, {"steps_per_quarter": 7}, {"quarters_per_minute": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            write_midi(tmp_path / "a.mid", roll, **options)
    with pytest.raises(ValueError, match=r"shape \(88, 3\)"):
        write_midi(tmp_path / "a.mid", roll[:, :3])


def test_a_folder_of_midi_files(tmp_path):
    for i in range(5):
        write_midi(tmp_path / f"{i}.mid", np.eye(KEYS, dtype=np.uint8)[i : i + 8])
    splits = from_folder(tmp_path)
    assert [len(pieces) for pieces in splits.values()] == [3, 1, 1]
    assert splits["test"][0].shape == (8, KEYS)
