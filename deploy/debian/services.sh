# Shared code of the maintainer scripts. `build` inserts it into each of them.
SERVICES='stats-aggregator billing-daemon web'

# Our units that run or are starting, in the order of an upgrade.
running_units() {
    for service in $SERVICES; do
        systemctl list-units --plain --no-legend --state=active,activating \
            "containerstacks-$service.service" "containerstacks-$service-*.service" "containerstacks-$service@*.service"
    done | awk '{ print $1 }'
}

has_systemd() {
    [ -d /run/systemd/system ]
}
