package fleettest

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
)

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// PeakMemory returns the highest memory use of the broker's process so far, in bytes, or 0 on other
// systems than Linux.
func (b *Broker) PeakMemory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.process.PID()))
	if errors.Is(err, os.ErrNotExist) && b.running() {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	found := peakLine.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s: there is no line VmHWM in /proc/PID/status", b.Name)
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	return kib << 10, err
}
