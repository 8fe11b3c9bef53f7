package desk_test

import (
	"time"

	"pgregory.net/rapid"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/agentstatus"
	"tributary/internal/viewer"
)

func (m *machine) setStatus(rt *rapid.T) {
	p := oneOf(rt, m.there(), "agent")
	s := rapid.SampledFrom([]agentstatus.State{
		agentstatus.StateAVAILABLE, agentstatus.StateAVAILABLE, agentstatus.StateAVAILABLE, agentstatus.StateBUSY, agentstatus.StateBREAK, agentstatus.StateOFFLINE,
	}).Draw(rt, "status")
	m.must(m.status(p, s))
	m.did("status", "ok")
}

// socket opens an agent's socket, or closes it.
func (m *machine) socket(rt *rapid.T) {
	p := oneOf(rt, m.there(), "agent")
	if p.let == nil {
		m.plug(p)
	} else {
		p.let()
		p.let = nil
	}
	m.did("socket", "ok")
}

// seldom leaves most of the draws of an action out that would undo what the others build.
func seldom(rt *rapid.T) bool { return rapid.IntRange(0, 2).Draw(rt, "seldom") > 0 }

// dismiss switches an agent off, or on again with a session anew.
func (m *machine) dismiss(rt *rapid.T) {
	if seldom(rt) {
		return
	}
	p := m.agents[oneOf(rt, []int{0, 3, 4}, "agent")]
	p.dismissed = !p.dismissed
	if p.dismissed && p.let != nil { // the door closes his sockets
		p.let()
		p.let = nil
	}
	_, err := m.Desk.UpdateAgent(m.Admin, p.ID, desk.AgentUpdateInput{Active: ptr(!p.dismissed)}, nil, nil)
	m.must(err)
	m.did("dismiss", "ok")
	if p.dismissed {
		return
	}
	s, err := m.Store.Ent.Session.Create().SetAgentID(p.ID).SetRefreshHash([]byte(m.Unique("no-refresh"))).SetExpiresAt(time.Now().Add(9999 * time.Hour)).Save(m.Sys)
	m.must(err)
	v, err := m.Desk.StillStands(m.Sys, &viewer.Viewer{Token: s.ID})
	m.must(err)
	p.Agent = &desktest.Agent{Context: viewer.With(m.hall.base.T.Context(), v), ID: p.ID, Session: s.ID}
	m.plug(p)
	m.must(m.status(p, agentstatus.StateAVAILABLE))
}

// time passes with living nodes: timers fire one by one, leases are renewed, and what ended is swept.
func (m *machine) time(rt *rapid.T) {
	d := oneOf(rt, []time.Duration{5 * time.Second, 31 * time.Second, 31 * time.Second, 61 * time.Second, time.Hour, 15 * 24 * time.Hour}, "passes")
	m.passes(d, "time")
	m.must(m.Desk.Online(m.hall.base.T.Context()))
	m.must(m.Desk.Sweep(m.hall.base.T.Context()))
	m.did("time", "ok")
}

// nodeDies lets every lease end; the node comes back and its clients with it.
func (m *machine) nodeDies(rt *rapid.T) {
	if seldom(rt) {
		return
	}
	m.passes(31*time.Second, "node dies")
	m.must(m.Desk.Sweep(m.hall.base.T.Context()))
	m.settled()
	m.judge("node dies")
	m.must(m.Desk.Online(m.hall.base.T.Context()))
	m.did("node dies", "ok")
}
