package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"wdpost/internal/access"
)

// utilAuth makes tokens for requests from other machines.
func (a *app) utilAuth() *cli.Command {
	return &cli.Command{
		Name: "auth", Usage: "tokens for the pages from other machines",
		Commands: []*cli.Command{{
			Name: "create-token", Usage: "print a token; it has no end: removing jwt_secret from the home ends all tokens",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "perm", Value: string(access.Read), Usage: "read, write or admin"},
				&cli.StringFlag{Name: "name", Value: "operator", Usage: "who gets it; it stands in the log"},
			},
			Action: a.createToken,
		}},
		Action: a.needSubcommand,
	}
}

func (a *app) createToken(_ context.Context, cmd *cli.Command) error {
	home, err := a.home(cmd)
	if err != nil {
		return err
	}
	perm, err := access.ParsePerm(cmd.String("perm"))
	if err != nil {
		return err
	}
	keeper, err := access.Open(home)
	if err != nil {
		return err
	}
	token, err := keeper.Token(cmd.String("name"), perm)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, token)
	return err
}
