package schema_test

import (
	"slices"
	"strings"
	"testing"

	"entgo.io/ent/dialect/sql/schema"

	"tributary/ent/migrate"
)

// withoutWorkspace are the tables of no workspace: the workspaces themselves, the leadership of work over all, and what
// nodes share.
var withoutWorkspace = []string{"workspaces", "leases", "cluster_nodes", "provider_tokens"}

// wide are unique over all workspaces on purpose.
var wide = []string{
	"leases: name", "cluster_nodes: name", "provider_tokens: provider, credential",
	// Rows of one workspace alone: the first column names a row that has one.
	"messages: interaction_id, number", "agent_loads: agent_id", "team_members: agent_id, team_id", "agent_skills: agent_id, skill_id",
	"consultants: interaction_id, agent_id", "followers: conversation_id, agent_id", "mentions: note_id, agent_id",
	"merge_suggestions: conversation_id, merge_suggestion_id", "merge_candidacies: merge_candidate_id, customer_id", "customer_merge_parts: customer_merge_id, customer_id",
}

func hasColumn(t *schema.Table, name string) bool {
	return slices.ContainsFunc(t.Columns, func(c *schema.Column) bool { return c.Name == name })
}

func TestEveryTableCarriesItsWorkspace(t *testing.T) {
	if len(migrate.Tables) < 25 {
		t.Fatalf("only %d tables", len(migrate.Tables))
	}
	for _, table := range migrate.Tables {
		if hasColumn(table, "workspace_id") == slices.Contains(withoutWorkspace, table.Name) {
			t.Errorf("%s: workspace_id is missing, or there against the list", table.Name)
		}
	}
}

// A unique index over all workspaces would tell one tenant what another has.
func TestEveryUniqueIndexCarriesTheWorkspace(t *testing.T) {
	found := map[string]bool{}
	check := func(table string, columns ...string) {
		name := table + ": " + strings.Join(columns, ", ")
		found[name] = true
		if !slices.Contains(columns, "workspace_id") && !slices.Contains(wide, name) {
			t.Errorf("unique over all workspaces: %s", name)
		}
	}
	for _, table := range migrate.Tables {
		for _, c := range table.Columns {
			if c.Unique {
				check(table.Name, c.Name)
			}
		}
		for _, i := range table.Indexes {
			if !i.Unique {
				continue
			}
			var names []string
			for _, c := range i.Columns {
				names = append(names, c.Name)
			}
			check(table.Name, names...)
		}
	}
	for _, name := range wide {
		if !found[name] {
			t.Errorf("the list of exceptions names %q, which is none", name)
		}
	}
}
