package mongo_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"wdpost/internal/ledger"
	"wdpost/internal/ledger/ledgertest"
	"wdpost/internal/ledger/mongo"
)

// dsnVariable names the MongoDB that the contract is checked against.
const dsnVariable = "WDPOST_TEST_MONGODB"

// TestContract runs on the MongoDB that is named, else on a stand-in that
// speaks the protocol.
func TestContract(t *testing.T) {
	dsn := os.Getenv(dsnVariable)
	if dsn == "" {
		t.Logf("%s is not set; set it to a MongoDB, for example mongodb://127.0.0.1:27017, to check the contract there", dsnVariable)
		ledgertest.Exercise(t, func(t *testing.T) ledgertest.Opener { return opener(startServer(t), "stand-in") })
		return
	}
	stores := 0
	ledgertest.Exercise(t, func(t *testing.T) ledgertest.Opener {
		stores++
		name := fmt.Sprintf("wdpost_test_%d_%d", time.Now().UnixNano(), stores)
		t.Cleanup(func() { drop(t, dsn, name) })
		return opener(dsn, name)
	})
}

func opener(dsn, name string) ledgertest.Opener {
	return func(t *testing.T, network string) (ledger.Ledger, error) {
		l, err := mongo.Open(t.Context(), mongo.Config{DSN: dsn, DatabaseName: name, Network: network})
		if err != nil {
			return nil, err
		}
		return l, nil
	}
}

func drop(t *testing.T, dsn, name string) {
	ctx := context.Background()
	client, err := driver.Connect(options.Client().ApplyURI(dsn))
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Disconnect(ctx)
	if err := client.Database(name).Drop(ctx); err != nil {
		t.Error(err)
	}
}

func TestBadConfig(t *testing.T) {
	for _, tt := range []struct {
		cfg  mongo.Config
		want string
	}{
		{mongo.Config{DatabaseName: "x"}, "needs both DSN and DatabaseName"},
		{mongo.Config{DSN: "mongodb://127.0.0.1"}, "needs both DSN and DatabaseName"},
		{mongo.Config{DSN: "mysql://127.0.0.1", DatabaseName: "x"}, "Common.MongoKVStore.DSN"},
		{mongo.Config{DSN: "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50&directConnection=true", DatabaseName: "x"}, "up and reachable"},
	} {
		l, err := mongo.Open(t.Context(), tt.cfg)
		if err == nil {
			_ = l.Close()
			t.Errorf("%+v was opened", tt.cfg)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q in it", tt.cfg, err, tt.want)
		}
	}
}
