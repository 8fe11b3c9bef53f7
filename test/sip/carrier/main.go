// Command carrier is a telephone carrier with one caller, for tests that are not written in Go: a SIP trunk with the sound of
// a call, of another make than the program's (telephony/siptest). It is no part of the program.
//
// It takes commands from its input and answers each, one JSON object a line:
//
//	{"do":"call","from":"…","pai":"…","to":"…","hz":440}   {}: when the call is answered; hz is the tone that the caller makes
//	{"do":"hears","hz":660,"seconds":5}                    {"verdict":{…}}: waits until the tone has stood so long from now
//	                                                       on, for 20 s or for "wait" seconds
//	{"do":"judge","hz":660,"seconds":1}                    {"verdict":{…}}: of what is heard from now on for so long
//	{"do":"digits","digits":"12#"}                         {}: when these keys were pressed (RFC 4733)
//	{"do":"digitsReceived"}                                {"digits":"12#"}: what the far end pressed so far
//	{"do":"hold"}, {"do":"resume"}, {"do":"hangup"}        {}
//	{"do":"ended"}                                         {"ended":true}: whether the call is over
//
// An answer with "error" says what went wrong. Its only argument is the trunk's address. It ends when its input does, as
// that does when the caller dies, however.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"tributary/telephony/siptest"
	"tributary/telephony/siptest/tone"
)

// patience is a deadline, never a figure.
const patience = 20 * time.Second

type command struct {
	Do      string  `json:"do"`
	From    string  `json:"from"`
	PAI     string  `json:"pai"`
	To      string  `json:"to"`
	Hz      float64 `json:"hz"`
	Seconds float64 `json:"seconds"`
	Wait    float64 `json:"wait"`
	Digits  string  `json:"digits"`
}

type answer struct {
	Verdict *tone.Verdict `json:"verdict,omitempty"`
	Digits  string        `json:"digits,omitempty"`
	Ended   bool          `json:"ended,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// process stands in for the test that siptest's peers live in: they end with the process.
type process struct {
	testing.TB
	ends []func()
}

func (p *process) Helper()                  {}
func (p *process) Name() string             { return "carrier" }
func (p *process) Context() context.Context { return context.Background() }
func (p *process) Cleanup(f func())         { p.ends = append(p.ends, f) }

func (p *process) Logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "carrier: "+format+"\n", args...)
}

func (p *process) Fatalf(format string, args ...any) {
	p.Logf(format, args...)
	os.Exit(1)
}

func (p *process) end() {
	for n := len(p.ends) - 1; n >= 0; n-- {
		p.ends[n]()
	}
}

// carrier is the trunk and its one call.
type carrier struct {
	trunk *siptest.Trunk
	call  *siptest.Call
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	if len(os.Args) != 2 {
		return errors.New("usage: carrier HOST:PORT")
	}
	p := &process{}
	defer p.end()
	c := &carrier{trunk: siptest.NewTrunk(p, siptest.TrunkConfig{Peer: os.Args[1], User: "carrier"})}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var order command
		if err := json.Unmarshal(in.Bytes(), &order); err != nil {
			return fmt.Errorf("read a command: %w", err)
		}
		a, err := c.do(order)
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return in.Err()
}

func (c *carrier) do(o command) (a answer, err error) {
	wait := patience
	if o.Wait > 0 {
		wait = span(o.Wait)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if o.Do == "call" {
		c.call, err = c.trunk.Call(ctx, siptest.Options{From: o.From, PAI: o.PAI, To: o.To, Tone: o.Hz})
		return a, err
	}
	if c.call == nil {
		return a, errors.New("there is no call")
	}
	switch o.Do {
	case "hears":
		v, err := c.call.Hears(ctx, o.Hz, span(o.Seconds))
		return answer{Verdict: &v}, err
	case "judge":
		pcm, err := c.call.Listen(ctx, span(o.Seconds))
		v := tone.Judge(pcm, o.Hz)
		return answer{Verdict: &v}, err
	case "digits":
		return a, c.call.Digits(ctx, o.Digits)
	case "digitsReceived":
		return answer{Digits: c.call.DigitsReceived()}, nil
	case "hold":
		return a, c.call.Hold(ctx)
	case "resume":
		return a, c.call.Resume(ctx)
	case "hangup":
		return a, c.call.HangUp(ctx)
	case "ended":
		select {
		case <-c.call.Ended():
			return answer{Ended: true}, nil
		default:
			return a, nil
		}
	}
	return a, fmt.Errorf("the command %q is unknown", o.Do)
}

func span(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
