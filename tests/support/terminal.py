#!/usr/bin/env python3
"""terminal.py COLUMNS ROWS COMMAND... - runs a command with a terminal of that size as standard error, and prints what
a reader of it saw, as JSON: {"status", "frames": [[lines]...] screens whenever the cursor went up, "left": lines on the
screen at the end, "bytes"}. Knows the few sequences that progress may use; any other is an error."""
import fcntl, json, os, pty, re, struct, subprocess, sys, termios

columns, rows = int(sys.argv[1]), int(sys.argv[2])
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
process = subprocess.Popen(sys.argv[3:], stdout=subprocess.DEVNULL, stderr=slave, stdin=subprocess.DEVNULL)
os.close(slave)
data = b""
while True:
    try:
        piece = os.read(master, 1 << 16)
    except OSError:
        break
    if not piece:
        break
    data += piece
status = process.wait()
screen, row, column, frames = [[]], 0, 0, []


def lines():
    return ["".join(line).rstrip() for line in screen]


for token in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\x1b|[^\x1b]", data.decode("utf-8", "replace")):
    if token == "\r":
        column = 0
    elif token == "\n":
        row += 1
        if row == len(screen):
            screen.append([])
    elif re.fullmatch(r"\x1b\[\d+A", token):
        frames.append(lines())
        row = max(0, row - int(token[2:-1]))
    elif token == "\x1b[K":
        del screen[row][column:]
    elif token == "\x1b[J":
        del screen[row][column:]
        del screen[row + 1:]
    elif re.fullmatch(r"\x1b\[[01]m", token):
        pass
    elif token[0] == "\x1b":
        sys.exit("unknown sequence %r" % token)
    else:
        line = screen[row]
        line.extend(" " * (column - len(line)))
        line[column:column + 1] = [token]
        column += 1
print(json.dumps({"status": status, "frames": frames, "left": lines(), "bytes": len(data)}))
