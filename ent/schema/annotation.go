package schema

// Paged makes an edge a connection with this order. Child is set where the edge's rows belong to a customer by his
// taking part in their conversation (MODEL 1), and is the column that names the conversation.
type Paged struct {
	Column string `json:"column"`
	Desc   bool   `json:"desc"`
	Child  string `json:"child"`
}

// Name is ent's key of the annotation.
func (Paged) Name() string { return "Paged" }

// Shape says what the loader cannot guess: other GraphQL types of a row, columns that are always needed, columns of
// computed fields, and computed fields that stand for one of several edges (`author`: the agent or the customer).
type Shape struct {
	Types  []string            `json:"types"`
	Always []string            `json:"always"`
	Needs  map[string][]string `json:"needs"`
	Via    map[string][]string `json:"via"`
}

// Name is ent's key of the annotation.
func (Shape) Name() string { return "Shape" }
