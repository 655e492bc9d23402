"""The one source of chance, handed in wherever a pause is jittered."""

from random import SystemRandom

RANDOM = SystemRandom().random
