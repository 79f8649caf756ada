from leasehold.client.lease import Lease as Lease
from leasehold.client.lease import LeaseLost as LeaseLost
from leasehold.client.lease import LeaseOptions as LeaseOptions
from leasehold.client.lease import NotGranted as NotGranted
from leasehold.client.lease import current_lease as current_lease
from leasehold.client.lease import lease as lease

__version__: str
