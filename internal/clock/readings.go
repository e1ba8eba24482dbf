//go:build !clockshift

package clock

// bootReading and wallReading are the clocks of a New Clock.
var bootReading, wallReading Reading = boot, wall
