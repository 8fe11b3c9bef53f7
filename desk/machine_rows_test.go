package desk_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql/schema"

	"tributary/ent"
	"tributary/ent/agentstatus"
	"tributary/ent/interaction"
	"tributary/ent/job"
	"tributary/ent/migrate"
	"tributary/ent/offer"
	"tributary/internal/gid"
	"tributary/internal/store"
)

// rows is everything of a workspace that the invariants speak of, at one moment.
type rows struct {
	contacts    []*ent.Interaction
	contact     map[gid.ID]*ent.Interaction
	matters     []*ent.Conversation
	matter      map[gid.ID]*ent.Conversation
	offers      []*ent.Offer
	offer       map[gid.ID]*ent.Offer
	assignments []*ent.Assignment
	loads       map[gid.ID]*ent.AgentLoad
	consultants []*ent.Consultant
	followers   []*ent.Follower
	messages    []*ent.Message
	status      map[gid.ID]agentstatus.State
	active      map[gid.ID]bool
	live        map[gid.ID]bool
}

func (m *machine) read() *rows {
	r := &rows{
		contact: map[gid.ID]*ent.Interaction{}, matter: map[gid.ID]*ent.Conversation{}, offer: map[gid.ID]*ent.Offer{},
		loads: map[gid.ID]*ent.AgentLoad{}, status: map[gid.ID]agentstatus.State{}, active: map[gid.ID]bool{}, live: map[gid.ID]bool{},
	}
	db, sys := m.Store.Ent, m.Sys
	byID := ent.Asc("id")
	var err error
	r.contacts, err = db.Interaction.Query().Order(byID).All(sys)
	m.must(err)
	r.matters, err = db.Conversation.Query().Order(byID).WithAccess().All(sys)
	m.must(err)
	r.offers, err = db.Offer.Query().Order(byID).All(sys)
	m.must(err)
	r.assignments, err = db.Assignment.Query().Order(byID).All(sys)
	m.must(err)
	r.consultants, err = db.Consultant.Query().All(sys)
	m.must(err)
	r.followers, err = db.Follower.Query().All(sys)
	m.must(err)
	r.messages, err = db.Message.Query().Order(byID).All(sys)
	m.must(err)
	m.readAgents(r)
	for _, i := range r.contacts {
		r.contact[i.ID] = i
	}
	for _, c := range r.matters {
		r.matter[c.ID] = c
	}
	for _, o := range r.offers {
		r.offer[o.ID] = o
	}
	return r
}

func (m *machine) readAgents(r *rows) {
	db, sys := m.Store.Ent, m.Sys
	agents, err := db.Agent.Query().WithLoad().WithStatus().All(sys)
	m.must(err)
	for _, a := range agents {
		r.loads[a.ID], r.active[a.ID] = a.Edges.Load, a.Active
		if a.Edges.Status != nil {
			r.status[a.ID] = a.Edges.Status.State
		}
	}
	there, err := db.Presence.Query().All(sys)
	m.must(err)
	for _, p := range there {
		r.live[p.SubjectID] = p.Sockets > 0
	}
}

// due counts the jobs that the frozen time has made due, and those that run.
func (m *machine) due() int {
	n, err := m.Store.Ent.Job.Query().Where(job.Or(job.StateEQ(job.StateRunning), job.And(job.StateEQ(job.StateReady), job.RunAtLTE(m.hall.now())))).Count(m.Sys)
	m.must(err)
	return n
}

// nextTimer is when the next job is due, up to a time.
func (m *machine) nextTimer(until time.Time) (time.Time, bool) {
	j, err := m.Store.Ent.Job.Query().Where(job.StateEQ(job.StateReady), job.RunAtLTE(until)).Order(ent.Asc(job.FieldRunAt)).First(m.Sys)
	if ent.IsNotFound(err) {
		return time.Time{}, false
	}
	m.must(err)
	return j.RunAt, true
}

// digest is every row of the workspace in every table: what was refused must leave it as it is.
func (m *machine) digest() map[string][]string {
	out := map[string][]string{}
	got, err := m.hall.digest.QueryContext(m.hall.base.T.Context(), m.ID)
	m.must(err)
	for got.Next() {
		var table, line string
		m.must(got.Scan(&table, &line))
		out[table] = append(out[table], line)
	}
	m.must(got.Err())
	m.must(got.Close())
	return out
}

// digestOf is one statement over all tables: asked one by one, they were most of what the machine did.
func digestOf(s *store.Store) string {
	var parts []string
	for _, table := range migrate.Tables {
		if !slices.ContainsFunc(table.Columns, func(c *schema.Column) bool { return c.Name == "workspace_id" }) || table.Name == "log_heads" {
			continue
		}
		line := `"` + table.Name + `"::text`
		if s.Dialect == dialect.SQLite {
			cells := make([]string, len(table.Columns))
			for n, c := range table.Columns {
				cells[n] = `quote("` + c.Name + `")`
			}
			line = strings.Join(cells, ` || '|' || `)
		}
		parts = append(parts, fmt.Sprintf(`SELECT '%s', %s FROM "%s" WHERE workspace_id = $1`, table.Name, line, table.Name))
	}
	return s.SQL(strings.Join(parts, " UNION ALL ") + " ORDER BY 1, 2")
}

// served lists what an agent carries: what he serves or wraps up, and what is reserved for him.
type carried struct {
	*ent.Interaction
	cost    int
	offered bool
}

func (r *rows) carries(agentID gid.ID) []carried {
	var out []carried
	for _, i := range r.contacts {
		switch {
		case serves(i) && is(i.AgentID, agentID):
			out = append(out, carried{i, i.Cost, false})
		case i.State == interaction.StateOFFERED && i.OpenOfferID != nil && r.offer[*i.OpenOfferID].AgentID == agentID:
			out = append(out, carried{i, r.offer[*i.OpenOfferID].Cost, true})
		}
	}
	return out
}

func serves(i *ent.Interaction) bool {
	return i.State == interaction.StateACTIVE || i.State == interaction.StateWRAP_UP
}

func ended(i *ent.Interaction) bool { return i.State == interaction.StateENDED }

// consults reports whether an agent helps beside the server.
func (r *rows) consults(i *ent.Interaction, agentID gid.ID) bool {
	return slices.ContainsFunc(r.consultants, func(c *ent.Consultant) bool { return c.InteractionID == i.ID && c.AgentID == agentID })
}

func (r *rows) of(c *ent.Conversation) []*ent.Interaction {
	return slices.DeleteFunc(slices.Clone(r.contacts), func(i *ent.Interaction) bool { return i.ConversationID != c.ID })
}

func (r *rows) pending(i *ent.Interaction) []*ent.Offer {
	return slices.DeleteFunc(slices.Clone(r.offers), func(o *ent.Offer) bool { return o.InteractionID != i.ID || o.State != offer.StatePENDING })
}

// golden are the moves that the table of states allows, as the file shows them.
func golden() map[[2]interaction.State]bool {
	text, err := os.ReadFile("testdata/states.golden")
	if err != nil {
		panic(err)
	}
	out := map[[2]interaction.State]bool{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(strings.TrimSpace(line), " | "); len(cells) == 4 && cells[0] != "from" {
			out[[2]interaction.State{interaction.State(cells[0]), interaction.State(cells[2])}] = true
		}
	}
	return out
}
