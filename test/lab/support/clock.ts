// siphond's clock, and its alone: that of its workers, and of all others, goes right.

const LIBFAKETIME = '/usr/lib/*/faketime/libfaketimeMT.so.1';
const CLOCK = '/var/lib/siphon/clock';
const UNIT = '/run/systemd/system/siphond.service.d/50-clock.conf';

/** Scripts. siphond starts with a clock that can be set. */
export const withClock = `echo +0 >${CLOCK}; mkdir -p $(dirname ${UNIT})
  cat >${UNIT} <<C
[Service]
Environment=LD_PRELOAD=$(echo ${LIBFAKETIME}) FAKETIME_TIMESTAMP_FILE=${CLOCK}
Environment=FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1
C
  systemctl daemon-reload; systemctl restart siphond`;
/** And as it was. */
export const withoutClock = `rm -r ${CLOCK} $(dirname ${UNIT}); systemctl daemon-reload; systemctl restart siphond`;

/** Sets it ahead or back, such as by `+2d`; it is looked at each time that it is asked. */
export const setClock = (offset: string): string => `echo ${offset} >${CLOCK}`;
