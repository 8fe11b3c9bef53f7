package config

import (
	"errors"
	"time"
)

// Show is what the command demo shows.
type Show struct {
	Fresh    bool    `name:"fresh" help:"Forget what earlier demos made in --data, and begin anew."`
	Seed     uint64  `name:"seed" placeholder:"NUMBER" help:"Decides who comes and what happens. 0: that of the last start, or a new one."`
	Arrivals float64 `name:"arrivals-per-minute" default:"6" placeholder:"NUMBER" help:"How many customers come."`
	Agents   int     `name:"agents" default:"0" placeholder:"NUMBER" help:"How many simulated agents answer: 0 to 20."`
	Pace     float64 `name:"pace" default:"1" placeholder:"TIMES" help:"How fast people read, think and type: 1 is human, 10 is ten times as fast."`
}

// Bounds of what one machine and one screen can take.
const (
	mostAgents   = 20
	mostArrivals = 600
	mostPace     = 100
)

func (s Show) check() error {
	switch {
	case s.Agents < 0 || s.Agents > mostAgents:
		return errors.New("--agents must lie between 0 and 20")
	case !(s.Arrivals >= 0 && s.Arrivals <= mostArrivals):
		return errors.New("--arrivals-per-minute must lie between 0 and 600")
	case !(s.Pace >= 0.1 && s.Pace <= mostPace):
		return errors.New("--pace must lie between 0.1 and 100")
	}
	return nil
}

// adapt gives the demo other defaults than the service has: a folder of its own, and limits that a whole crowd at one
// address does not reach. What somebody has set stays.
func (c *Config) adapt() {
	free := func(name string) bool { _, set := c.sources[name]; return !set }
	if free("data") {
		c.Data = "./data-demo"
	}
	plenty := Rate{Times: 100_000, Per: time.Minute}
	for name, rate := range map[string]*Rate{
		"visitor-messages": &c.Limits.VisitorMessages, "anonymous-queries": &c.Limits.AnonymousQueries,
		"logins-per-agent": &c.Limits.LoginsPerAgent, "logins-per-address": &c.Limits.LoginsPerAddress,
	} {
		if free(name) {
			*rate = plenty
		}
	}
}
