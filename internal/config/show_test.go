package config_test

import (
	"io"
	"testing"
	"time"

	"tributary/internal/config"
)

func TestDemoStaysAwayFromTheData(t *testing.T) {
	t.Parallel()
	_, c := parse(t, []string{"demo"}, env())
	if c.Data != "./data-demo" || c.Show != (config.Show{Arrivals: 6, Pace: 1}) {
		t.Errorf("unexpected defaults: %q %+v", c.Data, c.Show)
	}
	if want := (config.Rate{Times: 100_000, Per: time.Minute}); c.Limits.VisitorMessages != want || c.Limits.AnonymousQueries != want {
		t.Errorf("a crowd at one address reaches the limits: %+v", c.Limits)
	}
	_, c = parse(t, []string{"demo", "--data", "here", "--visitor-messages", "3/1m", "--agents", "4", "--seed", "7"}, env())
	if c.Data != "here" || c.Limits.VisitorMessages.Times != 3 || c.Show.Agents != 4 || c.Show.Seed != 7 {
		t.Errorf("what was set does not stay: %q %+v %+v", c.Data, c.Limits, c.Show)
	}
}

func TestDemoIsBounded(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"demo", "--agents", "21"},
		{"demo", "--agents=-1"},
		{"demo", "--arrivals-per-minute", "601"},
		{"demo", "--arrivals-per-minute", "NaN"},
		{"demo", "--pace", "0"},
	} {
		if _, _, err := config.Parse(args, env(), io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
