// Package schema makes the tables of package queue what this version needs,
// from whatever is there: nothing, the tables of the operator's guide, those of
// an earlier version, or some that were dropped or made anew by hand.
//
// The guide's table tasks holds question, state and answer of a task in one row,
// so that every heartbeat would write the question again: megabytes into the
// log of the database, and over every link of a cluster. Therefore
//
//	wdpost_tasks    is the state of a task, some hundred bytes, and its answer
//	wdpost_bodies   is the question, and what it is about; written once
//	tasks           is a view of both with exactly the guide's columns
//	tasks_view      is the guide's view, over tasks, word for word
//	tasks_archived  is the guide's table; finished tasks are moved there whole
//
// Who reads tasks or tasks_view sees what the guide shows; UPDATE and DELETE
// through tasks work where the database can change rows through views. A task
// that is put in by hand goes into wdpost_tasks with its question in in_body,
// where also the rows of earlier versions keep theirs: an empty in_body means
// that the question is in wdpost_bodies.
package schema

import (
	"slices"
	"strings"
)

// Column is a column of a table with its definition in SQL, which both kinds of
// database understand.
type Column struct {
	Name, Type string
	guide      bool // one of the guide's
}

// State are the columns of wdpost_tasks but for the question: they change while
// a task is worked on, and move to the archive with it.
var State = []Column{
	{"id", "CHAR(32) PRIMARY KEY NOT NULL", true},
	{"created_at", "BIGINT NOT NULL", true},
	{"started_at", "BIGINT DEFAULT NULL", true},
	{"finished_at", "BIGINT DEFAULT NULL", true},
	{"retry_count", "SMALLINT NOT NULL DEFAULT 0", true},
	{"error_reason", "TEXT DEFAULT NULL", true},
	{"out_body", "LONGBLOB DEFAULT NULL", true},
	{"slave", "VARCHAR(100) DEFAULT NULL", true},
	{"heartbeat_at", "BIGINT DEFAULT NULL", true},
	{"attempt", "INT NOT NULL DEFAULT 0", false},
	{"not_after", "BIGINT NOT NULL DEFAULT 9223372036854775807", false},
	{"ready_at", "BIGINT NOT NULL DEFAULT 0", false},
	{"settle_at", "BIGINT DEFAULT NULL", false},
	{"sector_size", "BIGINT NOT NULL DEFAULT 0", false},
	{"verdict", "VARCHAR(16) DEFAULT NULL", false},
	{"progress", "VARCHAR(100) DEFAULT NULL", false},
	// When the attempt last came nearer to its end; NULL: not since it began.
	{"advanced_at", "BIGINT DEFAULT NULL", false},
	// The process of the slave that has the attempt.
	{"holder", "VARCHAR(32) DEFAULT NULL", false},
	// Slaves that gave no whole answer in this round, one a line.
	{"tried", "VARCHAR(1000) DEFAULT NULL", false},
	// Attempts of this round that ended with a verdict: such tasks wait behind
	// those of which nothing bad is known.
	{"troubles", "INT NOT NULL DEFAULT 0", false},
}

// About are the columns that say what a question is about. They stand beside
// the question, in wdpost_bodies and in the archive.
var About = []Column{
	{"miner", "BIGINT DEFAULT NULL", false},
	{"deadline", "BIGINT DEFAULT NULL", false},
	{"partitions", "VARCHAR(200) DEFAULT NULL", false}, // "0,1,2"
	{"sectors", "INT DEFAULT NULL", false},             // how many
	{"stores", "TEXT DEFAULT NULL", false},             // their folders, one a line
}

// inBody is the guide's column of the question.
var inBody = Column{"in_body", "LONGBLOB NOT NULL", true}

// table is one table and what it needs.
type table struct {
	name    string
	columns []Column
	indexes map[string]string // name to columns
}

// Names of the tables.
const (
	Tasks    = "wdpost_tasks"
	Bodies   = "wdpost_bodies"
	Archive  = "tasks_archived"
	claims   = "wdpost_tasks_ready" // index
	guide    = "tasks"
	listing  = "tasks_view"
	versions = 5 // the version that these tables are
)

// Version is the version of the tables here.
const Version = versions

// ClaimIndex is the index in whose order tasks are handed out.
const ClaimIndex = claims

// tables are all tables of ours.
var tables = []table{
	{Tasks, slices.Concat(State[:1], []Column{inBody}, State[1:]), map[string]string{
		claims: "finished_at, started_at, troubles, not_after, created_at, id",
	}},
	{Bodies, slices.Concat([]Column{{"id", "CHAR(32) PRIMARY KEY NOT NULL", false}, {"put_at", "BIGINT NOT NULL", false}, {"size", "BIGINT NOT NULL DEFAULT 0", false}, inBody}, About), nil},
	{Archive, slices.Concat(State[:1], []Column{inBody}, State[1:], About), map[string]string{"tasks_archived_created": "created_at"}},
	{"slaves", []Column{
		{"name", "VARCHAR(100) PRIMARY KEY NOT NULL", false},
		{"version", "VARCHAR(100) NOT NULL", false},
		{"address", "VARCHAR(100) NOT NULL", false},
		{"concurrent", "INT NOT NULL DEFAULT 0", false},
		{"first_seen", "BIGINT NOT NULL", false},
		{"last_seen", "BIGINT NOT NULL", false},
		{"draining", "BOOLEAN NOT NULL DEFAULT FALSE", false},
		{"id", "VARCHAR(32) DEFAULT NULL", false},
		{"report", "TEXT DEFAULT NULL", false}, // JSON of task.Report
		{"failures", "INT NOT NULL DEFAULT 0", false},
	}, nil},
	{"wdpost_clock", []Column{{"id", "INT PRIMARY KEY NOT NULL", false}, {"shift_us", "BIGINT NOT NULL", false}}, nil},
}

// names joins the names of columns.
func names(columns []Column, prefix string) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = prefix + c.Name
	}
	return strings.Join(out, ", ")
}

// StateNames are the names of State, each behind a prefix such as "t.".
func StateNames(prefix string) string { return names(State, prefix) }

// AboutNames are the names of About, each behind a prefix.
func AboutNames(prefix string) string { return names(About, prefix) }

// guideColumns are the guide's columns of tasks, in its order.
var guideColumns = []string{"id", "in_body", "created_at", "started_at", "finished_at", "retry_count", "error_reason", "out_body", "slave", "heartbeat_at"}

// Question is the question of a task t with its row b of wdpost_bodies, if any.
const Question = `CASE WHEN LENGTH(t.in_body) > 0 THEN t.in_body ELSE b.in_body END`

// tasksView is the guide's table as a view. The question is a subquery, not a
// join, so that rows can be changed and deleted through the view.
func tasksView() string {
	var out []string
	for _, c := range guideColumns {
		if c == "in_body" {
			c = `CASE WHEN LENGTH(t.in_body) > 0 THEN t.in_body ELSE (SELECT b.in_body FROM ` + Bodies + ` b WHERE b.id = t.id) END AS in_body`
		} else {
			c = "t." + c + " AS " + c
		}
		out = append(out, c)
	}
	return `CREATE VIEW tasks AS SELECT ` + strings.Join(out, ", ") + ` FROM ` + Tasks + ` t`
}
