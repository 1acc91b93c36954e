#!/usr/bin/env python3
"""Every signal exactly once and in order, as soon as it is there.

    pip install redis        (or: apt install python3-redis)
    python3 examples/subscriber.py redis://127.0.0.1:6379 [LAST-ID]

Pub/sub is for speed, the stream is the truth: whenever anything but the next number comes (a start, a new
connection, a hole, a new run, a long silence), the stream is read from the last id `<run>-<seq>` on.
"""

import json
import sys
import time

import redis

SILENCE = 5  # seconds


class Subscriber:
    def __init__(self, url, last):
        options = {"socket_timeout": SILENCE, "socket_connect_timeout": SILENCE}
        self.redis = redis.Redis.from_url(url, decode_responses=True, **options)
        self.last = last  # (run, seq) of the last signal that was shown

    def show(self, identity, text):
        self.last = identity
        print("%d-%d %s" % (*identity, text), flush=True)

    def catch_up(self):
        """Shows what the stream holds after the last signal."""
        stream = "foreshock:signals"
        while entries := self.redis.xrange(stream, "(%d-%d" % self.last, "+", count=500):
            for name, fields in entries:
                identity = tuple(int(part) for part in name.split("-"))
                if "json" in fields:
                    self.show(identity, fields["json"])
                else:  # an entry of kind `gap`
                    print("signals %(from)s to %(to)s are gone for good" % fields, file=sys.stderr)
                    self.last = identity

    def hear(self, text):
        meta = json.loads(text)["meta"]
        identity = (meta["run"], meta["seq"])
        if identity > self.last and identity != (self.last[0], self.last[1] + 1):
            self.catch_up()
        if identity > self.last:  # unless the stream brought it already
            self.show(identity, text)

    def follow(self):
        with self.redis.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe("cascade:signals")
            channel.get_message(timeout=SILENCE)  # first listen, then read what was
            while True:
                self.catch_up()
                deadline = time.monotonic() + SILENCE
                while time.monotonic() < deadline:
                    message = channel.get_message(timeout=SILENCE)
                    if message is not None:
                        self.hear(message["data"])
                        deadline = time.monotonic() + SILENCE


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379"
    last = sys.argv[2] if len(sys.argv) > 2 else "0-0"
    subscriber = Subscriber(url, tuple(int(part) for part in last.split("-")))
    while True:
        try:
            subscriber.follow()
        except redis.RedisError as error:
            print("redis: %s; trying again" % error, file=sys.stderr)
            time.sleep(0.2)


if __name__ == "__main__":
    main()
