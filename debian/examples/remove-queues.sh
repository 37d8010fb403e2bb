#!/bin/sh
# Queues that are left behind in RabbitMQ: removing pvsim, or running fewer meters, leaves the queues and what they hold.
#
#     sudo sh remove-queues.sh                     says which queues look like those of pvsim, and what they hold
#     sudo sh remove-queues.sh Meter_7 Meter_8     removes these, and what they hold
#
# Nothing is removed that is not named. Stop the meters and PV services of those queues before: they declare them anew.
set -eu

vhost=${PVSIM_VHOST-/}
if [ $# -gt 0 ]; then
    for queue; do
        printf '%s: ' "$queue"
        rabbitmqctl --quiet delete_queue --vhost "$vhost" "$queue"
    done
    exit
fi

echo 'Queues that are bounded as pvsim declares them, and what was set aside (messages, consumers, name):'
rabbitmqctl --quiet list_queues --vhost "$vhost" --no-table-headers messages consumers name arguments |
    awk -F '\t' '$3 == "pvsim.rejected" || $4 ~ /x-overflow.*reject-publish/ { print "  " $1 "\t" $2 "\t" $3 }'
echo 'To remove some, name them: sudo sh remove-queues.sh NAME ...'
