package desk_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/apikey"
	"tributary/ent/migrate"
)

// everything is the text of every column of every table, by table.
func everything(t *testing.T, w *desktest.World) map[string][][]byte {
	t.Helper()
	out := map[string][][]byte{}
	for _, table := range migrate.Tables {
		cast := make([]string, len(table.Columns))
		for n, c := range table.Columns {
			cast[n] = fmt.Sprintf(`"%s"`, c.Name)
		}
		rows, err := w.Store.DB.QueryContext(t.Context(), "SELECT "+strings.Join(cast, ", ")+` FROM "`+table.Name+`"`)
		ok(t, err)
		for rows.Next() {
			cells := make([]any, len(cast))
			raw := make([]sql.RawBytes, len(cast))
			for n := range raw {
				cells[n] = &raw[n]
			}
			ok(t, rows.Scan(cells...))
			for _, b := range raw {
				out[table.Name] = append(out[table.Name], bytes.Clone(b))
			}
		}
		ok(t, errors.Join(rows.Err(), rows.Close()))
	}
	return out
}

func TestNoSecretAndNoPersonalValueIsStoredInTheClear(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		mail := w.Mail("canary")
		_, login, invitation := invited(t, w, mail)
		next, err := w.Desk.RefreshSession(t.Context(), login.Refresh)
		ok(t, err)
		_, open, err := w.Desk.InviteAgent(w.Admin, w.Agent("Bob", "agent").ID, nil)
		ok(t, err)
		_, key, err := keyed(t, w, desk.APIKeyInput{Kind: apikey.KindAPP})
		ok(t, err)
		v := w.Visitor(site(w))
		v.Say("a text may be read in the database")
		i := from(t, w, b, "t1", desktest.M{"id": "platform-canary", "phone": "+8613811112222", "email": "customer@canary.example", "customerId": "external-canary"})
		_, err = w.Desk.SetChannelSecret(w.Admin, b.ID, desk.SecretInput{Name: "signingSecret", Value: "another signing secret of thirty-two bytes", KeepPreviousSeconds: ptr(60)}, nil)
		ok(t, err)
		_, err = w.Desk.UpdateCustomer(w.Admin, i.CustomerID, desk.CustomerUpdateInput{DisplayName: ptr("Li")}, nil, ptr("idem"))
		ok(t, err)
		canaries := append(b.Secrets(), mail, invitation, open, login.Access, login.Refresh, next.Access, next.Refresh, key, v.Token, v.Secret, password,
			"+8613811112222", "13811112222", "customer@canary.example", "external-canary", "another signing secret of thirty-two bytes")
		all := everything(t, w)
		texts := 0
		for table, cells := range all {
			for _, cell := range cells {
				texts += bytes.Count(cell, []byte("a text may be read in the database"))
				for _, c := range canaries {
					if bytes.Contains(cell, []byte(c)) {
						t.Errorf("%s holds %q in the clear", table, c)
					}
				}
			}
		}
		if texts == 0 {
			t.Error("the scan does not find a text that is stored in the clear: it proves nothing")
		}
	})
}
