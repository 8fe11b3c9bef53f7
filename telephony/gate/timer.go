package gate

import (
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// session is the session timer: RFC 4028. Without an interval there is none.
type session struct {
	minimum  time.Duration
	interval time.Duration
	// refresh: it is on us to refresh; else we hang up when nobody does.
	refresh bool
	timer   *time.Timer
	round   int // of the timer that counts
}

func (s *session) stop() {
	s.round++
	if s.timer != nil {
		s.timer.Stop()
	}
}

// asked reads Session-Expires of an INVITE or UPDATE and writes our answer into ok, or returns the 422: section 9.
func (s *session) asked(req *sip.Request, ok *fault) *fault {
	interval, refresher := sessionExpires(req)
	if interval == 0 {
		s.interval = 0
		return nil
	}
	if interval < s.minimum {
		return &fault{code: 422, reason: "Session Interval Too Small", fields: []field{{"Min-SE", inSeconds(s.minimum)}}}
	}
	supports := hasWord(req, "Supported", "timer") || hasWord(req, "Require", "timer")
	if refresher == "" {
		refresher = "uas"
		if supports {
			refresher = "uac"
		}
	}
	s.interval, s.refresh = interval, refresher == "uas"
	ok.fields = append(ok.fields, field{"Session-Expires", inSeconds(interval) + ";refresher=" + refresher})
	if supports {
		ok.fields = append(ok.fields, field{"Require", "timer"})
	}
	return nil
}

// answered reads Session-Expires of a 2xx to us: section 7.2.
func (s *session) answered(res *sip.Response) {
	interval, refresher := sessionExpires(res)
	s.interval, s.refresh = interval, refresher != "uas"
}

// ask writes the interval that holds into a request that refreshes: section 7.4.
func (s *session) ask(req *sip.Request) {
	if s.interval == 0 {
		return
	}
	who := "uas"
	if s.refresh {
		who = "uac"
	}
	req.AppendHeader(sip.NewHeader("Session-Expires", inSeconds(s.interval)+";refresher="+who))
	req.AppendHeader(sip.NewHeader("Min-SE", inSeconds(s.minimum)))
}

// start counts from now: half of the interval to our refresh, or to the end with a margin (section 10).
func (s *session) start(x *dialog) {
	s.stop()
	if s.interval == 0 || x.state == over {
		return
	}
	round := s.round
	wait := s.interval / 2
	if !s.refresh {
		wait = s.interval - min(32*time.Second, s.interval/3)
	}
	s.timer = x.after(wait, func() {
		switch {
		case s.round != round || x.state != up:
		case s.refresh:
			x.refreshSession()
		default:
			x.lost("the session was not refreshed")
		}
	})
}

// refreshSession sends UPDATE, or the last SDP again where the far end takes none.
func (x *dialog) refreshSession() {
	if !x.update {
		if !x.ours && x.offered == nil {
			x.reinvite(x.body, nil, func(r result) {
				if r.err != nil && x.state == up {
					x.after(t2, x.refreshSession)
				}
			})
		}
		return
	}
	req, find := x.request(sip.UPDATE)
	req.AppendHeader(sip.NewHeader("Supported", "timer"))
	x.session.ask(req)
	x.send(req, find, func(res *sip.Response, err error) {
		switch {
		case x.state != up:
		case err == nil && res.IsSuccess():
			x.refreshTarget(res)
			x.session.answered(res)
			x.session.start(x)
		case err == nil && res.StatusCode == 422:
			if shortest := deltaSeconds(value(res, "Min-SE")); shortest > x.session.interval {
				x.session.interval = shortest
				x.refreshSession()
			}
		case err != nil || res.StatusCode == 481 || res.StatusCode == 408:
			x.lost("the session could not be refreshed")
		case res.StatusCode == 405 || res.StatusCode == 501:
			x.update = false
			x.refreshSession()
		default:
			x.after(t2, x.refreshSession)
		}
	})
}

// sessionExpires reads the field; an interval of 0 means none.
func sessionExpires(m sip.Message) (time.Duration, string) {
	first, rest, _ := strings.Cut(value(m, "Session-Expires"), ";")
	c := cursor{s: ";" + rest}
	p, _ := c.params()
	who, _ := p.get("refresher")
	return deltaSeconds(first), strings.ToLower(who)
}

func deltaSeconds(s string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

func inSeconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
