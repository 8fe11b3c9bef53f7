package demo

import (
	"fmt"
	"strings"
)

// print says how to watch.
func (d *Demo) print(s *shop) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe demo is alive: %s   (seed %d, start %d, %g arrivals a minute, %d simulated agents)\n\n", s.door.url, s.book.Seed, s.book.Starts, d.cfg.Arrivals, d.cfg.Agents)
	fmt.Fprintf(&b, "  watch as an agent   %s/agent.html\n", s.door.url)
	for _, l := range s.humans {
		fmt.Fprintf(&b, "    %-17s %s   %s\n", l.name, l.email, l.password)
	}
	fmt.Fprintf(&b, "  see everything      %s   %s\n\n", s.admin.email, s.admin.password)
	fmt.Fprintf(&b, `A query, as the admin:

  URL=%s/graphql
  TOKEN=$(curl -s $URL -H 'Content-Type: application/json' \
    -d '{"query":"mutation{sessionCreate(input:{email:\"%s\",password:\"%s\",client:\"curl\"}){tokens{accessToken}}}"}' | sed 's/.*"accessToken":"\([^"]*\).*/\1/')
  curl -s $URL -H 'Content-Type: application/json' -H "Authorization: Bearer $TOKEN" \
    -d '{"query":"{conversations(first:10){nodes{number state customer{displayName} owner{displayName} interactions(last:3){nodes{channelKind state}} lastMessage{text}}}}"}'

A subscription (curl reads Server-Sent Events; apps use graphql-transport-ws at the same address):

  curl -sN $URL -H 'Content-Type: application/json' -H 'Accept: text/event-stream' -H "Authorization: Bearer $TOKEN" \
    -d '{"query":"subscription{events(filter:{scope:ALL}){cursor events{type at subject{... on Message{direction text delivery} ... on Offer{state agent{displayName}} ... on Interaction{state}}}}}"}'

`, s.door.url, s.admin.email, s.admin.password)
	if d.cfg.Agents == 0 {
		b.WriteString("Nobody answers but you: --agents 4 switches simulated agents on.\n\n")
	}
	_, err := d.cfg.Out.Write([]byte(b.String()))
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
