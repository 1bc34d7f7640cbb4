package bench

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"time"
)

// busyTime is the time that all cores of the machine have been busy since it
// started, that taken by other machines on the same host included; 0 where the
// kernel does not tell.
func busyTime() time.Duration {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return 0
	}
	return parseBusy(line)
}

// parseBusy reads the first line of /proc/stat: user, nice, system, idle,
// iowait, irq, softirq and steal time in ticks of 10 ms; what follows is part of
// user and nice.
func parseBusy(line string) time.Duration {
	const tick = 10 * time.Millisecond
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0
	}
	var busy time.Duration
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0
		}
		if idle := i == 3 || i == 4; !idle {
			busy += time.Duration(n) * tick
		}
	}
	return busy
}

// quietMachine is how many cores others may take without spoiling wall times.
const quietMachine = 0.1

// others is the mean number of cores that other programs took while children
// ran.
func others(usage []Usage) float64 {
	var taken, wall time.Duration
	for _, u := range usage {
		taken, wall = taken+u.Others, wall+u.Wall
	}
	if wall == 0 {
		return 0
	}
	return max(0, taken.Seconds()/wall.Seconds())
}
