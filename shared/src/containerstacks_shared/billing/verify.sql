-- name: was_emptied
-- Whether a table has other contents by now than this snapshot's: the catalogue's row is the snapshot's, the function looks at
-- what is there.
select exists (select from pg_class c
                where c.oid in ('vps_instances'::regclass, 'wallets'::regclass, 'organizations'::regclass,
                                'vps_billing_cycles'::regclass, 'payment_transactions'::regclass, 'vps_plans'::regclass)
                  and c.relfilenode <> pg_relation_filenode(c.oid)) as was_emptied;
