"""See it: dashboard, history, forecast, alerts."""

from accept.see_it import alerts as alerts
from accept.see_it import demo as demo
from accept.see_it import estimate as estimate
from accept.see_it import forecast as forecast
from accept.see_it import notify as notify
from accept.see_it import pages as pages
from accept.see_it import storage as storage
