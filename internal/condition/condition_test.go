package condition

import (
	"regexp"
	"testing"
	"testing/synctest"
	"time"
)

func TestBoardKeepsTheBeginningAndTellsBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard()
		var changes []Change
		b.Watch(func(c Change) { changes = append(changes, c) })

		b.Set(Condition{Kind: "a", Subject: "x", Detail: "one", Cost: None})
		began := time.Now()
		time.Sleep(time.Minute)
		b.Set(Condition{Kind: "a", Subject: "x", Detail: "two", Cost: None})
		b.Set(Condition{Kind: "a", Subject: "y", Detail: "worse", Cost: Window})

		list := b.List()
		if len(list) != 2 || list[0].Subject != "y" || list[1].Detail != "two" || !list[1].Since.Equal(began) {
			t.Fatalf("list %+v", list)
		}
		b.When(false, Condition{Kind: "a", Subject: "x"})
		b.Clear("a", "x") // already over
		if len(changes) != 3 || !changes[0].Began || !changes[1].Began || changes[2].Began {
			t.Fatalf("changes %+v", changes)
		}
	})
}

func TestReplaceEndsWhatAProcessNoLongerTells(t *testing.T) {
	b := NewBoard()
	b.Set(Condition{Kind: "a", Subject: "x", Cost: None})
	b.Replace("child", []Condition{{Kind: "a", Subject: "x", Cost: None}, {Kind: "b", Cost: Money}})
	b.Replace("child", []Condition{{Kind: "b", Cost: Money}})
	list := b.List()
	if len(list) != 2 || list[0].Kind != "b" || list[0].Source != "child" || list[1].Source != "" {
		t.Fatalf("list %+v", list)
	}
	b.Replace("child", nil)
	if list := b.List(); len(list) != 1 || list[0].Source != "" {
		t.Fatalf("list %+v", list)
	}
}

func TestNilBoardDiscards(t *testing.T) {
	var b *Board
	b.Set(Condition{Kind: "a"})
	b.Clear("a", "")
	b.Replace("x", nil)
	b.Watch(func(Change) {})
	if b.List() != nil {
		t.Fatal("a nil board holds something")
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)*$`)
	seen := map[Kind]bool{}
	for _, e := range Catalogue() {
		if seen[e.Kind] || !snake.MatchString(string(e.Kind)) {
			t.Errorf("kind %q stands twice or is not in snake_case", e.Kind)
		}
		seen[e.Kind] = true
		if e.What == "" || e.Remedy == "" || e.Cost.rank() < 0 {
			t.Errorf("kind %s lacks its cost, what or remedy: %+v", e.Kind, e)
		}
	}
	c := lookUp("no_such_kind")
	if c.Cost != Window {
		t.Errorf("an unknown kind costs %q", c.Cost)
	}
}
