"""Progress in a log; a bar is that of Keras."""

from data.progress import Progress


def test_log_gets_a_line_per_minute(capsys):
    seconds = iter([0.0, 10.0, 59.9, 60.0, 60.0, 90.0, 120.0, 120.0])
    progress = Progress('encoding', 5000, clock=lambda: next(seconds))
    for done in (1000, 2000, 3000, 4000, 5000):
        progress.update(done)
    assert capsys.readouterr().out == 'encoding: 3,000 of 5,000 bytes\nencoding: 5,000 of 5,000 bytes\n'


def test_unknown_total_is_left_out(capsys):
    seconds = iter([0.0, 60.0, 60.0])
    Progress('downloading', 0, clock=lambda: next(seconds)).update(7)
    assert capsys.readouterr().out == 'downloading: 7 bytes\n'
