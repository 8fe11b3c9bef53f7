package media

// tee is several sinks that hear the same.
type tee []Sink

// Tee gives a sink that writes to each of several, in order; nil ones are left out. None of them may change the packet.
func Tee(sinks ...Sink) Sink {
	var t tee
	for _, s := range sinks {
		if s != nil {
			t = append(t, s)
		}
	}
	return t
}

// Write hands p to every sink.
func (t tee) Write(p *Packet) {
	for _, s := range t {
		s.Write(p)
	}
}
