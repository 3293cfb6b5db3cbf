"""Draw the Mandelbrot set into a PNG file, on all cores:

    interlace run mandelbrot.py FILE [WIDTH]
"""

import struct
import sys
import zlib

from interlace import Executor

LEFT, RIGHT, TOP = -2.25, 0.75, 1.125  # the height is 3/4 of the width
MOST = 200


def steps(c):
    """After how many steps the point leaves the circle; MOST if it does not."""
    z = 0j
    for step in range(MOST):
        if z.real * z.real + z.imag * z.imag > 4.0:
            return step
        z = z * z + c
    return MOST


def draw_row(y, width):
    """A row of pixels, three bytes each."""
    scale = (RIGHT - LEFT) / width
    row = bytearray()
    for x in range(width):
        taken = steps(complex(LEFT + x * scale, TOP - y * scale))
        row += bytes((0, 0, 0) if taken == MOST else (taken * 3 % 256, taken * 7 % 256, 96 + taken % 160))
    return bytes(row)


def chunk(kind, data):
    """A piece of a PNG file: its length, its kind, the data, a checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(file, width, rows):
    header = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)  # eight bits for each of red, green, blue
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def main():
    path = sys.argv[1]
    width = int(sys.argv[2]) if len(sys.argv) > 2 else 320
    height = width * 3 // 4
    with Executor() as executor:
        rows = list(executor.map(draw_row, range(height), [width] * height, chunksize=8))
    with open(path, "wb") as file:
        write_png(file, width, rows)
    print(f"{path}: {width} x {height} pixels")


if __name__ == "__main__":
    main()
