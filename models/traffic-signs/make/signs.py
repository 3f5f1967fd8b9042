"""Renders the traffic signs of the demo model: every shape, digit and letter is drawn here.

A sample is a pure function of (seed, split, index), so any subset can be rendered in any order.

    python signs.py FOLDER    writes contact sheets of faces, clean and corrupted samples
"""

import io
import math
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 48  # edge of a sample, in pixels
WORK = 3 * SIZE  # scenes are composed at this edge and reduced, which smooths every edge
FACE = 128  # edge of a flat sign face
SUPER = 3  # supersampling while a face is drawn

SPLITS = {"train": 1, "clean": 2, "corrupted": 3, "gallery": 4, "check": 5}

RED = (190, 22, 32)
BLUE = (16, 82, 165)
WHITE = (242, 242, 238)
BLACK = (24, 24, 26)
YELLOW = (246, 190, 20)
GREY = (120, 122, 124)
AMBER = (238, 160, 24)
GREEN = (30, 140, 70)


class Face:
    """A flat sign face with coordinates from -1 to 1, y downwards."""

    def __init__(self):
        self.edge = FACE * SUPER
        self.image = Image.new("RGBA", (self.edge, self.edge), (0, 0, 0, 0))
        self.pen = ImageDraw.Draw(self.image)

    def _point(self, point):
        half = self.edge / 2
        return (half + point[0] * half * 0.97, half + point[1] * half * 0.97)

    def _length(self, length):
        return length * self.edge / 2 * 0.97

    def disc(self, x, y, radius, color):
        px, py = self._point((x, y))
        r = self._length(radius)
        self.pen.ellipse((px - r, py - r, px + r, py + r), fill=color)

    def polygon(self, points, color):
        self.pen.polygon([self._point(p) for p in points], fill=color)

    def rounded(self, points, radius, color):
        """A convex polygon around the origin with rounded corners."""
        inner = _inset(points, radius)
        self.polygon(inner, color)
        self.stroke(inner + inner[:1], 2 * radius, color)

    def stroke(self, points, width, color, caps=True):
        pixels = [self._point(p) for p in points]
        self.pen.line(pixels, fill=color, width=max(1, round(self._length(width))), joint="curve")
        if caps:
            for x, y in points:
                self.disc(x, y, width / 2, color)

    def rectangle(self, left, top, right, bottom, color):
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color)

    def finish(self):
        return self.image.resize((FACE, FACE), Image.Resampling.BOX)


def _inset(points, distance):
    """Moves each edge of a convex polygon inwards by a distance."""
    count = len(points)
    lines = []
    for i in range(count):
        (ax, ay), (bx, by) = points[i], points[(i + 1) % count]
        nx, ny = by - ay, ax - bx
        norm = math.hypot(nx, ny)
        nx, ny = nx / norm, ny / norm
        offset = nx * ax + ny * ay
        if offset < 0:
            nx, ny, offset = -nx, -ny, -offset
        lines.append((nx, ny, offset - distance))
    corners = []
    for i in range(count):
        (a, b, e), (c, d, f) = lines[i - 1], lines[i]
        det = a * d - b * c
        corners.append(((e * d - b * f) / det, (a * f - e * c) / det))
    return corners


def _arc(cx, cy, rx, ry, start, end, steps=24):
    """Points of an elliptical arc; degrees, clockwise as seen, 0 to the right."""
    return [
        (
            cx + rx * math.cos(math.radians(start + (end - start) * i / steps)),
            cy + ry * math.sin(math.radians(start + (end - start) * i / steps)),
        )
        for i in range(steps + 1)
    ]


# --- glyphs -------------------------------------------------------------------------------------

# Strokes in a box of 1 x 2 around the origin.
GLYPHS = {
    "0": [_arc(0, -0.4, 0.5, 0.6, -180, 0) + _arc(0, 0.4, 0.5, 0.6, 0, 180) + [(-0.5, -0.4)]],
    "3": [_arc(-0.02, -0.5, 0.46, 0.5, -160, 75) + _arc(-0.02, 0.48, 0.52, 0.52, -75, 160)],
    "5": [[(0.44, -1.0), (-0.36, -1.0), (-0.44, -0.06)] + _arc(-0.02, 0.4, 0.5, 0.6, -140, 150)],
    "7": [[(-0.5, -1.0), (0.5, -1.0), (-0.12, 1.0)]],
    "S": [_arc(0, -0.5, 0.47, 0.5, -20, -270) + _arc(0, 0.5, 0.47, 0.5, -90, 160)],
    "T": [[(-0.55, -1.0), (0.55, -1.0)], [(0.0, -1.0), (0.0, 1.0)]],
    "O": [_arc(0, -0.4, 0.5, 0.6, -180, 0) + _arc(0, 0.4, 0.5, 0.6, 0, 180) + [(-0.5, -0.4)]],
    "P": [[(-0.45, 1.0), (-0.45, -1.0), (0.0, -1.0)] + _arc(0.02, -0.45, 0.48, 0.55, -90, 90) + [(-0.45, 0.1)]],
}


def _text(face, text, height, width, gap, weight, color, y=0.0):
    step = width + gap
    x = -step * (len(text) - 1) / 2
    for character in text:
        for stroke in GLYPHS[character]:
            inner_w, inner_h = width - weight, height - weight
            points = [(x + px * inner_w, y + py * inner_h / 2) for px, py in stroke]
            face.stroke(points, weight, color)
        x += step


def _arrow(face, points, weight, head, color):
    """A stroke whose last segment ends in a triangle with its tip at the last point."""
    (ax, ay), (bx, by) = points[-2], points[-1]
    norm = math.hypot(bx - ax, by - ay)
    ux, uy = (bx - ax) / norm, (by - ay) / norm
    base = (bx - ux * head, by - uy * head)
    face.stroke(points[:-1] + [(base[0] + ux * 0.02, base[1] + uy * 0.02)], weight, color, caps=False)
    for x, y in points[1:-1]:
        face.disc(x, y, weight / 2, color)
    side = head * 0.78
    face.polygon([(bx, by), (base[0] - uy * side, base[1] + ux * side), (base[0] + uy * side, base[1] - ux * side)], color)


def _car(face, x, y, scale, color):
    """A car seen from behind."""

    def at(points):
        return [(x + px * scale, y + py * scale) for px, py in points]

    face.polygon(at([(-0.62, -0.05), (-0.42, -0.5), (0.42, -0.5), (0.62, -0.05)]), color)
    face.polygon(at([(-0.75, -0.08), (0.75, -0.08), (0.75, 0.42), (-0.75, 0.42)]), color)
    face.polygon(at([(-0.68, 0.4), (-0.38, 0.4), (-0.38, 0.68), (-0.68, 0.68)]), color)
    face.polygon(at([(0.38, 0.4), (0.68, 0.4), (0.68, 0.68), (0.38, 0.68)]), color)
    face.polygon(at([(-0.44, -0.1), (-0.32, -0.38), (0.32, -0.38), (0.44, -0.1)]), WHITE)


def _person(face, x, y, scale, lean, color):
    """A walking person; lean shifts the head and spreads the legs, its sign is the direction."""

    def at(px, py):
        return (x + px * scale, y + py * scale)

    w = 0.2 * scale
    face.disc(*at(0.14 * lean, -0.78), 0.19 * scale, color)
    face.stroke([at(0.08 * lean, -0.42), at(-0.05 * lean, 0.12)], w * 1.7, color)
    face.stroke([at(-0.02 * lean, 0.12), at(0.3 * lean, 0.48), at(0.26 * lean, 0.95)], w, color)
    face.stroke([at(-0.06 * lean, 0.12), at(-0.2 * lean, 0.52), at(-0.52 * lean, 0.88)], w, color)
    face.stroke([at(0.1 * lean, -0.42), at(0.36 * lean, -0.12), at(0.6 * lean, -0.2)], w * 0.8, color)
    face.stroke([at(0.02 * lean, -0.42), at(-0.34 * lean, -0.14), at(-0.42 * lean, 0.14)], w * 0.8, color)


# --- blanks -------------------------------------------------------------------------------------

TRIANGLE = [(0.0, -1.05), (1.08, 0.82), (-1.08, 0.82)]


def _ring(face, rng, fill=WHITE):
    face.disc(0, 0, 1.0, WHITE if rng.random() < 0.5 else RED)
    face.disc(0, 0, 0.96, RED)
    face.disc(0, 0, rng.uniform(0.72, 0.79), fill)


def _blue_disc(face, rng):
    face.disc(0, 0, 1.0, WHITE)
    face.disc(0, 0, rng.uniform(0.93, 0.97), BLUE)


def _warning(face, rng):
    """A red-edged triangle; some countries fill it with yellow."""
    fill = WHITE if rng.random() < 0.85 else YELLOW
    face.rounded(TRIANGLE, 0.12, RED)
    edge = rng.uniform(0.19, 0.24)
    face.rounded(_inset(TRIANGLE, edge), 0.04, fill)


# --- the signs ----------------------------------------------------------------------------------


def _regular(count, radius, turn):
    return [
        (radius * math.cos(2 * math.pi * i / count + turn), radius * math.sin(2 * math.pi * i / count + turn))
        for i in range(count)
    ]


def stop(face, rng):
    face.polygon(_regular(8, 1.05, math.pi / 8), WHITE)
    face.polygon(_regular(8, rng.uniform(0.97, 1.0), math.pi / 8), RED)
    _text(face, "STOP", rng.uniform(0.62, 0.72), 0.32, 0.09, rng.uniform(0.1, 0.125), WHITE)


def yield_(face, rng):
    down = [(x, -y - 0.1) for x, y in TRIANGLE]
    face.rounded(down, 0.12, RED)
    face.rounded(_inset(down, rng.uniform(0.22, 0.29)), 0.03, WHITE)


def no_entry(face, rng):
    face.disc(0, 0, 1.0, WHITE)
    face.disc(0, 0, 0.95, RED)
    half = rng.uniform(0.15, 0.2)
    face.rectangle(-0.7, -half, 0.7, half, WHITE)


def _speed(text):
    def draw(face, rng):
        _ring(face, rng)
        height = rng.uniform(0.7, 0.82)
        _text(face, text, height, rng.uniform(0.4, 0.46), rng.uniform(0.08, 0.13), rng.uniform(0.12, 0.155), BLACK)

    return draw


def no_overtaking(face, rng):
    _ring(face, rng)
    _car(face, -0.34, 0.02, 0.42, RED)
    _car(face, 0.34, 0.02, 0.42, BLACK)


def no_parking(face, rng):
    face.disc(0, 0, 1.0, RED)
    face.disc(0, 0, rng.uniform(0.76, 0.82), BLUE)
    reach = 0.6
    face.stroke([(-reach, -reach), (reach, reach)], rng.uniform(0.18, 0.23), RED, caps=False)


def priority_road(face, rng):
    face.rounded([(0, -1.06), (1.06, 0), (0, 1.06), (-1.06, 0)], 0.08, WHITE)
    reach = rng.uniform(0.72, 0.8)
    face.rounded([(0, -reach), (reach, 0), (0, reach), (-reach, 0)], 0.05, YELLOW)


def crossing(face, rng):
    face.rounded([(-0.92, -0.92), (0.92, -0.92), (0.92, 0.92), (-0.92, 0.92)], 0.12, WHITE)
    face.rounded([(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)], 0.1, BLUE)
    face.polygon([(0, -0.72), (0.74, 0.6), (-0.74, 0.6)], WHITE)
    for x in (-0.42, -0.14, 0.14, 0.42):
        face.polygon([(x * 0.8 - 0.04, 0.42), (x * 0.8 + 0.05, 0.42), (x + 0.08, 0.58), (x - 0.07, 0.58)], BLACK)
    _person(face, 0.0, 0.02, 0.46, -1 if rng.random() < 0.5 else 1, BLACK)


def _turn(direction):
    def draw(face, rng):
        _blue_disc(face, rng)
        weight = rng.uniform(0.19, 0.25)
        _arrow(
            face,
            [(-0.28 * direction, 0.62), (-0.28 * direction, -0.14), (0.7 * direction, -0.14)],
            weight,
            rng.uniform(0.42, 0.5),
            WHITE,
        )

    return draw


def ahead(face, rng):
    _blue_disc(face, rng)
    _arrow(face, [(0, 0.68), (0, -0.72)], rng.uniform(0.19, 0.25), rng.uniform(0.48, 0.56), WHITE)


def roundabout(face, rng):
    _blue_disc(face, rng)
    weight = rng.uniform(0.16, 0.2)
    turn = rng.uniform(-10, 10)
    for start in (turn - 90, turn + 30, turn + 150):
        points = _arc(0, 0, 0.5, 0.5, start + 24, start + 92, 12)
        face.stroke(points, weight, WHITE, caps=False)
        # Anticlockwise traffic: the head points back along the arc.
        (ax, ay), (bx, by) = points[1], points[0]
        norm = math.hypot(bx - ax, by - ay)
        ux, uy = (bx - ax) / norm, (by - ay) / norm
        tip = 0.34
        face.polygon(
            [(bx + ux * tip, by + uy * tip), (bx - uy * 0.25, by + ux * 0.25), (bx + uy * 0.25, by - ux * 0.25)],
            WHITE,
        )


def slippery(face, rng):
    _warning(face, rng)
    _car(face, 0.04, 0.0, 0.36, BLACK)
    weight = rng.uniform(0.065, 0.085)
    for x in (-0.2, 0.24):
        points = [(x + 0.11 * math.sin(t * math.pi * 2.0 / 12), 0.27 + 0.38 * t / 12) for t in range(13)]
        face.stroke(points, weight, BLACK)


def children(face, rng):
    _warning(face, rng)
    _person(face, -0.2, 0.2, rng.uniform(0.4, 0.44), -1, BLACK)
    _person(face, 0.26, 0.26, rng.uniform(0.34, 0.38), -1, BLACK)


def roadworks(face, rng):
    _warning(face, rng)
    face.disc(-0.1, -0.32, 0.11, BLACK)
    face.stroke([(-0.12, -0.14), (-0.32, 0.22)], 0.22, BLACK)
    face.stroke([(-0.32, 0.22), (-0.2, 0.42), (-0.3, 0.64)], 0.13, BLACK)
    face.stroke([(-0.32, 0.22), (-0.46, 0.44), (-0.6, 0.64)], 0.13, BLACK)
    face.stroke([(-0.1, -0.1), (0.1, 0.14)], 0.1, BLACK)
    face.stroke([(-0.16, 0.02), (0.3, 0.5)], rng.uniform(0.06, 0.08), BLACK)
    face.polygon([(0.1, 0.68), (0.26, 0.42), (0.44, 0.34), (0.6, 0.44), (0.74, 0.68)], BLACK)


def signals(face, rng):
    _warning(face, rng)
    face.rounded([(-0.2, -0.42), (0.2, -0.42), (0.2, 0.66), (-0.2, 0.66)], 0.06, BLACK)
    radius = rng.uniform(0.12, 0.145)
    for y, color in ((-0.24, RED), (0.12, AMBER), (0.48, GREEN)):
        face.disc(0, y, radius, color)


def danger(face, rng):
    _warning(face, rng)
    half = rng.uniform(0.1, 0.13)
    face.polygon([(-half, -0.42), (half, -0.42), (half * 0.6, 0.34), (-half * 0.6, 0.34)], BLACK)
    face.disc(0, -0.42, half, BLACK)
    face.disc(0, 0.54, half * 1.05, BLACK)


def end_of_limits(face, rng):
    face.disc(0, 0, 1.0, BLACK if rng.random() < 0.5 else GREY)
    face.disc(0, 0, 0.94, WHITE)
    gap = rng.uniform(0.11, 0.14)
    for k in (-2, -1, 0, 1, 2):
        offset = k * gap
        reach = math.sqrt(max(0.0, 0.9**2 - offset**2)) / math.sqrt(2)
        shift = offset / math.sqrt(2)
        face.stroke([(-reach + shift, reach + shift), (reach + shift, -reach + shift)], 0.055, BLACK, caps=False)


SIGNS = {
    "stop": stop,
    "yield": yield_,
    "no-entry": no_entry,
    "speed-limit-30": _speed("30"),
    "speed-limit-50": _speed("50"),
    "speed-limit-70": _speed("70"),
    "no-overtaking": no_overtaking,
    "no-parking": no_parking,
    "priority-road": priority_road,
    "pedestrian-crossing": crossing,
    "turn-left": _turn(-1),
    "turn-right": _turn(1),
    "ahead-only": ahead,
    "roundabout": roundabout,
    "slippery-road": slippery,
    "children": children,
    "roadworks": roadworks,
    "traffic-signals": signals,
    "danger": danger,
    "end-of-limits": end_of_limits,
}
LABELS = list(SIGNS)


def face_of(label, rng):
    face = Face()
    SIGNS[label](face, rng)
    return face.finish()


# --- the scene ----------------------------------------------------------------------------------


def _noise_field(rng, edge, octaves):
    """Smooth noise in 0..1: random grids of growing fineness, scaled up and added."""
    total = np.zeros((edge, edge), np.float32)
    weight = 0.0
    for octave in octaves:
        grid = Image.fromarray(rng.random((octave, octave), dtype=np.float32), mode="F")
        amount = 1.0 / math.sqrt(octave)
        total += amount * np.asarray(grid.resize((edge, edge), Image.Resampling.BICUBIC))
        weight += amount
    return np.clip(total / weight, 0, 1)


SKIES = [(150, 190, 230), (205, 212, 220), (110, 150, 205), (230, 200, 170), (90, 95, 110)]
GREENS = [(60, 90, 45), (90, 110, 60), (45, 65, 40), (120, 115, 70)]
WALLS = [(160, 110, 85), (180, 175, 165), (120, 120, 125), (205, 190, 160), (85, 75, 75)]


def _background(rng):
    edge = WORK
    kind = rng.integers(0, 5)
    field = _noise_field(rng, edge, (3, 7, 19))[..., None]
    sky = np.array(SKIES[rng.integers(len(SKIES))], np.float32)
    green = np.array(GREENS[rng.integers(len(GREENS))], np.float32)
    wall = np.array(WALLS[rng.integers(len(WALLS))], np.float32)
    rows = np.linspace(0, 1, edge, dtype=np.float32)[:, None, None]
    if kind == 0:  # open sky
        scene = sky * (1.08 - 0.2 * rows) + 40 * (field - 0.5)
    elif kind == 1:  # foliage
        fine = _noise_field(rng, edge, (11, 29))[..., None]
        scene = green * (0.35 + 1.3 * (0.5 * field + 0.5 * fine))
    elif kind == 2:  # sky above trees or hills
        line = rng.uniform(0.3, 0.8) + 0.25 * (_noise_field(rng, edge, (4, 9))[0] - 0.5)
        below = (rows[..., 0] > line[None, :])[..., None]
        scene = np.where(below, green * (0.5 + field), sky * (1.05 - 0.15 * rows))
    elif kind == 3:  # a wall with windows or bricks
        scene = np.broadcast_to(wall * (0.85 + 0.3 * field), (edge, edge, 3)).copy()
        picture = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(picture)
        step_x, step_y = int(rng.integers(14, 44)), int(rng.integers(14, 44))
        shade = tuple(int(v) for v in wall * rng.uniform(0.3, 1.2))
        for x in range(-int(rng.integers(0, step_x)), edge, step_x):
            for y in range(-int(rng.integers(0, step_y)), edge, step_y):
                pen.rectangle((x, y, x + step_x * 0.55, y + step_y * 0.6), fill=shade)
        scene = np.asarray(picture, np.float32)
    else:  # clutter: random patches, some in the colours of signs
        scene = np.broadcast_to(wall * (0.6 + 0.8 * field), (edge, edge, 3)).copy()
        picture = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(picture)
        for _ in range(int(rng.integers(4, 12))):
            x, y = rng.uniform(-0.2, 1.0, 2) * edge
            w, h = rng.uniform(0.1, 0.6, 2) * edge
            color = tuple(int(v) for v in rng.integers(20, 235, 3))
            if rng.random() < 0.5:
                pen.rectangle((x, y, x + w, y + h), fill=color)
            else:
                pen.ellipse((x, y, x + w, y + h), fill=color)
        scene = np.asarray(picture.filter(ImageFilter.GaussianBlur(2)), np.float32)
    return np.clip(scene, 0, 255)


def _corners(rng, strength):
    """Where the corners of the face land in the picture, in 0..1, seen by a turned camera."""
    yaw = math.radians(rng.uniform(-42, 42) * strength)
    pitch = math.radians(rng.uniform(-24, 24) * strength)
    roll = math.radians(rng.normal(0, 6) * strength)
    distance = rng.uniform(2.6, 6.0)
    scale = rng.uniform(0.62, 0.94) if strength > 0.5 else rng.uniform(0.84, 0.92)
    points = []
    for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        x, y = x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)
        px, pz = x * math.cos(yaw), x * math.sin(yaw)
        py, pz = y * math.cos(pitch) - pz * math.sin(pitch), y * math.sin(pitch) + pz * math.cos(pitch)
        depth = distance / (distance + pz)
        points.append((px * depth, py * depth))
    points = np.array(points)
    points -= (points.max(0) + points.min(0)) / 2
    points *= scale / np.abs(points).max()
    free = np.maximum(0.02, 1.02 - np.abs(points).max(0))
    points += rng.uniform(-1, 1, 2) * free * strength
    return (points + 1) / 2


def _place(face, corners, edge):
    """Warps a face so that its corners land on the given points of a square picture."""
    source = np.array([(0, 0), (FACE, 0), (FACE, FACE), (0, FACE)], float)
    rows, values = [], []
    for (x, y), (u, v) in zip(corners * edge, source):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
        values += [u, v]
    coefficients = np.linalg.solve(np.array(rows), np.array(values))
    return face.transform((edge, edge), Image.Transform.PERSPECTIVE, tuple(coefficients), Image.Resampling.BILINEAR)


def _blob(rng, edge, spots):
    """A mask of irregular blobs: noise above a threshold inside a few discs."""
    mask = Image.new("L", (edge, edge), 0)
    pen = ImageDraw.Draw(mask)
    for _ in range(spots):
        x, y = rng.uniform(0.05, 0.95, 2) * edge
        r = rng.uniform(0.05, 0.14) * edge
        pen.ellipse((x - r, y - r * rng.uniform(0.5, 1.3), x + r, y + r), fill=255)
    rough = _noise_field(rng, edge, (17, 31)) > 0.42
    return (np.asarray(mask) > 0) & rough


def _occlude(rng, scene, share):
    """Covers part of the sign: leaves, a branch or pole, a sticker, dirt. Share is the size."""
    edge = WORK
    kind = rng.integers(0, 4)
    if kind == 0:
        mask = _blob(rng, edge, max(1, round(2 + 10 * share)))
        color = np.array(GREENS[rng.integers(len(GREENS))], np.float32) * rng.uniform(0.6, 1.3)
        color = color * (0.6 + 0.8 * _noise_field(rng, edge, (23,))[..., None])
        scene[mask] = color[mask]
    elif kind == 1:
        picture = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(picture)
        start, end = rng.uniform(-0.1, 1.1, 2) * edge, rng.uniform(-0.1, 1.1, 2) * edge
        side = rng.random() < 0.5
        a = (start[0], -5) if side else (-5, start[1])
        b = (end[0], edge + 5) if side else (edge + 5, end[1])
        tone = int(rng.integers(25, 110))
        pen.line((*a, *b), fill=(tone, int(tone * 0.9), int(tone * 0.8)), width=max(2, round(edge * 0.3 * share)))
        scene = np.asarray(picture, np.float32).copy()
    elif kind == 2:
        w = h = math.sqrt(share) * 0.8 * edge
        w *= rng.uniform(0.7, 1.4)
        x, y = rng.uniform(0.1, 0.9, 2) * edge - np.array([w, h]) / 2
        x0, y0, x1, y1 = (int(np.clip(v, 0, edge)) for v in (x, y, x + w, y + h))
        scene[y0:y1, x0:x1] = rng.integers(20, 240, 3)
    else:
        mask = _blob(rng, edge, max(1, round(3 + 14 * share)))[..., None]
        mud = np.array((105, 90, 70), np.float32) if rng.random() < 0.6 else np.array((235, 238, 242), np.float32)
        scene = np.where(mask, scene * 0.25 + mud * 0.75, scene)
    return scene


def _light(rng, scene, strength):
    """Exposure, colour of the light, a slope of brightness and sometimes a shadow's edge."""
    exposure = math.exp(rng.normal(-0.1, 0.32) * strength)
    tint = 1 + rng.normal(0, 0.06, 3) * strength
    ys, xs = np.mgrid[0:WORK, 0:WORK].astype(np.float32) / WORK - 0.5
    angle = rng.uniform(0, 2 * math.pi)
    slope = 1 + rng.uniform(0, 0.5) * strength * (xs * math.cos(angle) + ys * math.sin(angle))
    if rng.random() < 0.25 * strength:
        angle = rng.uniform(0, 2 * math.pi)
        edge = (xs * math.cos(angle) + ys * math.sin(angle)) > rng.uniform(-0.25, 0.25)
        slope = np.where(edge, slope * rng.uniform(0.4, 0.75), slope)
    scene = scene * slope[..., None] * exposure * tint
    contrast = 1 + rng.uniform(-0.4, 0.15) * strength
    return (scene - 118) * contrast + 118


def _sensor_noise(rng, pixels, level):
    """Sensor noise: a part that grows with the signal and a part that does not."""
    signal = np.sqrt(np.clip(pixels, 0, 255) / 255 + 0.1)
    return pixels + rng.normal(0, 1, pixels.shape) * level * signal


def _motion(image, length, angle):
    """Blur along a line, as when the camera moves."""
    pixels = np.asarray(image, np.float32)
    steps = max(2, int(length * 2))
    total = np.zeros_like(pixels)
    for t in np.linspace(-0.5, 0.5, steps):
        dx, dy = length * t * math.cos(angle), length * t * math.sin(angle)
        moved = image.transform(
            image.size, Image.Transform.AFFINE, (1, 0, dx, 0, 1, dy), Image.Resampling.BILINEAR
        )
        moved = np.asarray(moved, np.float32)
        # Pixels shifted in from outside are black: keep the picture's own there.
        total += np.where(moved.sum(-1, keepdims=True) == 0, pixels, moved)
    return Image.fromarray(np.clip(total / steps, 0, 255).astype(np.uint8))


def scene(label, rng, strength=1.0):
    """One picture as an RGB image of SIZE: a sign before a background. Strength scales every variation."""
    face = face_of(label, rng)
    back = _background(rng)
    corners = _corners(rng, strength)
    if rng.random() < 0.6:  # the pole
        middle, low = corners[:, 0].mean() * WORK, corners[:, 1].mean() * WORK
        width = rng.uniform(0.05, 0.09) * WORK
        tone = rng.uniform(90, 175)
        x0, x1 = int(max(0, middle - width / 2)), int(min(WORK, middle + width / 2))
        back[int(low) :, x0:x1] = tone * np.linspace(0.75, 1.1, max(0, x1 - x0))[None, :, None]
    layer = np.asarray(_place(face, corners, WORK), np.float32)
    fade = rng.uniform(0, 0.25) * strength
    colors = layer[..., :3] * (1 - fade) + 165 * fade
    colors = colors * (1 + rng.normal(0, 0.05, 3) * strength)
    alpha = layer[..., 3:] / 255
    picture = back * (1 - alpha) + colors * alpha
    if strength > 0.5 and rng.random() < 0.3:
        picture = _occlude(rng, picture, rng.uniform(0.04, 0.2))
    picture = np.clip(_light(rng, picture, strength), 0, 255).astype(np.uint8)
    image = Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BOX)
    chance = rng.random()
    if chance < 0.35 * strength:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    elif chance < 0.5 * strength:
        image = _motion(image, rng.uniform(1.0, 3.0), rng.uniform(0, math.pi))
    pixels = _sensor_noise(rng, np.asarray(image, np.float32), rng.uniform(0.5, 9) * strength)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


# --- corruptions --------------------------------------------------------------------------------


def fog(image, rng, severity):
    pixels = np.asarray(image, np.float32)
    density = (0.45, 0.62, 0.78)[severity] + 0.25 * (_noise_field(rng, SIZE, (2, 4, 9))[..., None] - 0.5)
    return pixels * (1 - density) + 205 * density


def noise(image, rng, severity):
    pixels = np.asarray(image, np.float32)
    return pixels + rng.normal(0, (28, 45, 68)[severity], pixels.shape)


def blur(image, rng, severity):
    if rng.random() < 0.5:
        return image.filter(ImageFilter.GaussianBlur((1.3, 1.9, 2.6)[severity]))
    return _motion(image, (5.0, 7.5, 10.0)[severity], rng.uniform(0, math.pi))


def contrast(image, rng, severity):
    pixels = np.asarray(image, np.float32)
    factor = (0.3, 0.2, 0.12)[severity]
    level = rng.uniform(60, 190)
    return (pixels - pixels.mean()) * factor + level + rng.normal(0, 2, pixels.shape)


def blocks(image, rng, severity):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=(14, 8, 4)[severity], subsampling=2)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def occlusion(image, rng, severity):
    pixels = np.asarray(image, np.float32).copy()
    for _ in range(2 + severity):
        w, h = rng.uniform(0.14, 0.3 + 0.05 * severity, 2) * SIZE
        x, y = rng.uniform(0.1, 0.9, 2) * SIZE
        x0, y0, x1, y1 = (int(np.clip(v, 0, SIZE)) for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        pixels[y0:y1, x0:x1] = rng.integers(0, 255, 3) + rng.normal(0, 8, (y1 - y0, x1 - x0, 3))
    return pixels


def night(image, rng, severity):
    pixels = np.asarray(image, np.float32) * (0.25, 0.14, 0.08)[severity]
    return _sensor_noise(rng, pixels, (8, 11, 14)[severity])


def pixelate(image, rng, severity):
    edge = (20, 16, 12)[severity]
    small = image.resize((edge, edge), Image.Resampling.BOX)
    return small.resize((SIZE, SIZE), Image.Resampling.NEAREST)


CORRUPTIONS = {
    "fog": fog,
    "noise": noise,
    "blur": blur,
    "contrast": contrast,
    "blocks": blocks,
    "occlusion": occlusion,
    "night": night,
    "pixelate": pixelate,
}
KINDS = list(CORRUPTIONS)


def corruption_of(index):
    """Kind and severity of a corrupted sample: both are functions of its index."""
    cell = index // len(LABELS)
    return KINDS[cell % len(KINDS)], cell // len(KINDS) % 3


def corrupt(image, kind, rng, severity):
    result = CORRUPTIONS[kind](image, rng, severity)
    pixels = np.asarray(result, np.float32)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


# --- samples ------------------------------------------------------------------------------------


def label_of(index):
    """Labels go round, so that any whole number of rounds is balanced."""
    return index % len(LABELS)


def sample(seed, split, index):
    """The picture of one sample as an RGB image."""
    rng = np.random.default_rng([seed, SPLITS[split], index])
    name = LABELS[label_of(index)]
    if split == "gallery":
        return scene(name, rng, strength=0.35)
    image = scene(name, rng)
    if split == "corrupted":
        kind, severity = corruption_of(index)
        image = corrupt(image, kind, rng, severity)
    elif split == "train" and rng.random() < 0.15:
        # A few mild corruptions, so that accuracy falls off slowly instead of at once.
        image = corrupt(image, KINDS[rng.integers(len(KINDS))], rng, 0)
    return image


def _packed(job):
    seed, split, index = job
    return np.asarray(sample(seed, split, index)).transpose(2, 0, 1)


def samples(seed, split, count, pool=None):
    """uint8 [count, 3, SIZE, SIZE] and int64 labels."""
    jobs = [(seed, split, index) for index in range(count)]
    pictures = pool.map(_packed, jobs, chunksize=64) if pool else map(_packed, jobs)
    labels = np.array([label_of(index) for index in range(count)], np.int64)
    return np.stack(list(pictures)), labels


def sheet(images, columns, zoom=3, gap=4):
    """A contact sheet of equally large images."""
    edge = images[0].width * zoom + gap
    rows = -(-len(images) // columns)
    page = Image.new("RGB", (columns * edge + gap, rows * edge + gap), (60, 60, 60))
    for i, image in enumerate(images):
        big = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
        page.paste(big.convert("RGB"), (gap + i % columns * edge, gap + i // columns * edge))
    return page


if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else "."
    plain = np.random.default_rng(0)
    faces = [Image.alpha_composite(Image.new("RGBA", (FACE, FACE), (110, 120, 130)), face_of(n, plain)) for n in LABELS]
    sheet(faces, 5, zoom=1).save(f"{out}/faces.png")
    sheet([sample(7, "clean", i) for i in range(100)], 20).save(f"{out}/clean.png")
    sheet([sample(7, "corrupted", i) for i in range(480)], 20, zoom=2).save(f"{out}/corrupted.png")
