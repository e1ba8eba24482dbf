package server

import "sync"

// openConns are the connections that there are, of which some give way to others.
type openConns struct {
	mu  sync.Mutex
	all map[*limitedConn]struct{}
}

func newOpenConns() *openConns { return &openConns{all: map[*limitedConn]struct{}{}} }

func (o *openConns) add(c *limitedConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[c] = struct{}{}
}

func (o *openConns) remove(c *limitedConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, c)
}

// cutOff closes the connection that uses most, of which it is told before, and returns how much
// that is. One that uses nothing stays.
func (o *openConns) cutOff(uses func(*limitedConn) int, before func(*limitedConn)) (most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var greediest *limitedConn
	for c := range o.all {
		if used := uses(c); used > most && !c.cutOff {
			greediest, most = c, used
		}
	}
	if greediest != nil {
		greediest.cutOff = true
		before(greediest)
		greediest.held.cutOff()
	}
	return most
}
